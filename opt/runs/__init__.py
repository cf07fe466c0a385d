"""A run on disk: its directory, journal, tables, front, and whether they are whole."""
