"""The live events of a turn: published once, for every reader that follows it."""
