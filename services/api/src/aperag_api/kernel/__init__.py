"""What every layer of the gateway stands on: callers, failures, limits, streams."""
