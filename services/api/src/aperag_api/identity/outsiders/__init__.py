"""Other services that connect to NATS with an API key."""
