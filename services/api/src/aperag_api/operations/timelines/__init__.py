"""Where a document is, and why it waits there."""
