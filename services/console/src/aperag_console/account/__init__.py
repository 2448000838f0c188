"""A person's own account: password, limits, API keys."""
