"""Searching collections, and seeing why something was found."""
