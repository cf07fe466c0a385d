"""Runs compared: groups, indicators, significance, warnings, tables, pictures and the page."""
