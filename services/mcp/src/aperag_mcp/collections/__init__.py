"""Collections as tools and resources."""
