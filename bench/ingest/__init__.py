"""How fast documents become searchable, and what that costs."""
