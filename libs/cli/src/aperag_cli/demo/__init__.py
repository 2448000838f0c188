"""The demonstration: sample documents on their way to being found, seen through the public API only."""
