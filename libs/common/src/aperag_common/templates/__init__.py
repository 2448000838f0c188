"""Templates that users write, rendered where they can do no harm."""
