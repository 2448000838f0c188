"""Events: what happens to a person's documents and the rest, as it happens."""
