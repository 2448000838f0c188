"""Webhooks: endpoints that events are sent to, and the log of what was sent."""
