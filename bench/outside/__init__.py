"""Events of another service: what they cost beside uploads, and what is left of them while processes die."""
