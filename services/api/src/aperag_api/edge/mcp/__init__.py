"""The MCP service under the gateway's own address."""
