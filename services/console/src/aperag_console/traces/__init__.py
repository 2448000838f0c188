"""Traces: what one request caused, over all services, on one scale of time."""
