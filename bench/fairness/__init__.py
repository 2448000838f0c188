"""How long one person waits while the documents of another stand in the queue."""
