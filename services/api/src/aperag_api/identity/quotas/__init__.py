"""How much of something each user may own."""
