"""Tools that a turn may use: those of the MCP service that read, with the rights of whoever asked."""
