"""What happens, as it happens: the gateway's events of the signed-in person."""
