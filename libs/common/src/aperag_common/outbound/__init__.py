"""Requests to addresses that users name: only to the public internet, unless settings say more."""
