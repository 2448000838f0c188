"""What is encrypted at rest, and its rotation to a new secret."""
