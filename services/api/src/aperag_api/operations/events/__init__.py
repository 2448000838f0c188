"""Events as server-sent events, with resume."""
