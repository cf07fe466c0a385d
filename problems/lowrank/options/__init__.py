"""ALDS' options, and what each makes."""
