"""Celery with Redis, as the original uses it: what our path is held against."""
