"""What tests of several packages share; nothing here runs in a service."""
