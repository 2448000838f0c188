"""The account of a user: its names, its rows, what it has from the start."""
