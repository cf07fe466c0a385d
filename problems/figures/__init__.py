"""Pictures that belong to one task, drawn from its runs."""
