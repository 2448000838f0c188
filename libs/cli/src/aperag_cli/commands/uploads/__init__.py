"""``aperag documents upload``: what is on disk and not yet in a collection is sent, once."""
