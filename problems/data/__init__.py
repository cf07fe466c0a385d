"""Data sets: the embedded digits, standard files in a folder, downloads with a checksum."""
