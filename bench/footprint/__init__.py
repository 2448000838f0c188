"""What the stack costs while nobody uses it."""
