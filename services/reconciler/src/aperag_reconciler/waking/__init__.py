"""What the reconciler does as soon as somebody wakes it, instead of at its next tick."""
