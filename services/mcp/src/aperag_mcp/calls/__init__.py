"""What every call has: a span, figures, failures that an agent can act on."""
