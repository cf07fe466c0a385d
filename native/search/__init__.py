"""Evolution strategies that the C library runs, and searches repeated."""
