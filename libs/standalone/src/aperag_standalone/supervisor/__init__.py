"""Keeps the one-machine stack running: starts it in order, restarts what dies, stops it in order."""
