"""Traces of an owner's own requests."""
