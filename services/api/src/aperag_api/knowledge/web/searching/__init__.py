"""Web searches: engines, and what sites list for language models."""
