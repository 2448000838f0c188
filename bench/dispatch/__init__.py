"""What it costs to hand one task to a worker and to hear of its end."""
