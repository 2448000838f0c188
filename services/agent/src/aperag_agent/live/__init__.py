"""What is told of a turn while it runs: said once, on its way to whoever follows."""
