"""What holds for every request and every answer, whatever the route."""
