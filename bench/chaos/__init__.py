"""An ingest during which processes die, and what is left of it."""
