"""Flags of the command line, made from signatures and docstrings."""
