"""What a search costs more through MCP than by REST."""
