"""The gateway as the tools use it: over HTTP, as the caller."""
