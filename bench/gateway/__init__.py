"""What a request costs the gateway, beside a server that does nothing."""
