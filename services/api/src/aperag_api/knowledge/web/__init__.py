"""The public web: searching it, and reading its pages."""
