"""Child processes, stop signals and memory limits."""
