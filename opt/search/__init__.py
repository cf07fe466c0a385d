"""One search: the ask - evaluate - tell loop, evaluation, budget, scalarising, progress."""
