"""Searches as tools."""
