"""The same documents through our services and through Celery, with the same functions doing the work."""
