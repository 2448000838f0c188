"""Search engines and page readers."""
