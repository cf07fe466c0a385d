"""Compression tasks, one file each, runnable by their path."""
