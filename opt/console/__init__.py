"""What the commands say and check: errors, flags' ranges, names, the terminal."""
