"""Benchmarks: each starts a stack of its own, measures it, and prints a table or JSON."""
