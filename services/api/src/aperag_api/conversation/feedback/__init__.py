"""What people think of an answer."""
