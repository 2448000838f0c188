"""Runs flows node by node and publishes their progress."""
