"""API keys of a user."""
