"""Turns: claimed, run, published while they run, and ended in one fenced update."""
