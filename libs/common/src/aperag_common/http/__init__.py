"""The HTTP server that every service listens with."""
