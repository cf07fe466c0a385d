"""Carrying out one run: start, resume, mend, finish; whether its code is still the same."""
