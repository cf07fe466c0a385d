"""Training by SGD, its schedules, accuracy on the way."""
