"""Cancelling what is under way for documents."""
