"""How fast searches answer."""
