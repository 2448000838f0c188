"""How to use this server, for agents."""
