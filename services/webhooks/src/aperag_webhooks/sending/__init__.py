"""From deliveries to requests, and what became of them."""
