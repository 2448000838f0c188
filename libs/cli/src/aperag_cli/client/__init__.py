"""The gateway as a client sees it: nothing but the public contract."""
