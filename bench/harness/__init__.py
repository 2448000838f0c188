"""The stack under load, and the client that loads it."""
