"""Documents of a collection and the state of their indexes."""
