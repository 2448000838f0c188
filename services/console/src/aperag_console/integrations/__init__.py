"""Integrations: how other programs reach the gateway, and how the gateway reaches them."""
