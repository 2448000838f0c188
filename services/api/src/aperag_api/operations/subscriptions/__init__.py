"""Durable subscriptions of other services to events."""
