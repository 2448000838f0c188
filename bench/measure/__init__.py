"""Numbers from samples, rankings and processes."""
