"""Jobs that are under way or were given up: listed, and retried or cancelled many at a time."""
