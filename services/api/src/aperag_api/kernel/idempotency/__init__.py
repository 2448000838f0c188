"""A request that is repeated under its Idempotency-Key is done once, and answered as often as it is asked."""
