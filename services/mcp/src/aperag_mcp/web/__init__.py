"""The web as tools."""
