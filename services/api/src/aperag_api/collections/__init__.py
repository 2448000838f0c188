"""Collections of an owner."""
