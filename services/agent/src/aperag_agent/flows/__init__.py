"""Flows, run: node after node as their owner drew them, told as they go."""
