"""How much of everything a user may have."""
