"""Dead letters: work that was given up, and what operators do about it."""
