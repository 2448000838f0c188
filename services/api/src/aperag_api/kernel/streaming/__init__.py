"""Server-sent events, and the events of this process that they are made of."""
