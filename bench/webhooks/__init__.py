"""How soon an event is at a webhook."""
