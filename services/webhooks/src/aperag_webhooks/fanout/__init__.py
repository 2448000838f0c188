"""From events to deliveries."""
