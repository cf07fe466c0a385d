"""What the search for circuits that compute weights is made of: its data, its energy model, its strategy in C."""
