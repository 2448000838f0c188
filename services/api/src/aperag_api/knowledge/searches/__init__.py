"""Searches in a collection, and the ones an owner kept."""
