"""Turns: claimed, run, told while they run, and ended in one fenced update."""
