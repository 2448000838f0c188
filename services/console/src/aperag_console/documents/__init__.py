"""Documents: sent in, followed until they are searchable, looked into, built again."""
