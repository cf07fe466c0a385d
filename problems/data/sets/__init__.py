"""Data sets in three splits of examples: read by name, from a folder, a file or a function, and prepared."""
