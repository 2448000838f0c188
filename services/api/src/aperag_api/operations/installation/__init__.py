"""What administrators set for the whole installation while it runs."""
