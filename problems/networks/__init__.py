"""What two tasks or more share about networks, a verb a folder."""
