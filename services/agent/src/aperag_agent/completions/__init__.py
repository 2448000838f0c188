"""Which model answers a turn, as the agent library wants it."""
