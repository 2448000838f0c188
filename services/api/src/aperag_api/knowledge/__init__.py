"""Collections and documents: kept, shared, searched."""
