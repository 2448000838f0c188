"""Documents as tools and resources: listing, reading, adding, status."""
