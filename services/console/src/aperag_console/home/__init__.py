"""The first page: put something in, see it become searchable, ask."""
