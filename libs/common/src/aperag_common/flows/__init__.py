"""Flows: what a knowledge or common bot does with a question, as its owner drew it."""
