"""Summaries of collections, on request."""
