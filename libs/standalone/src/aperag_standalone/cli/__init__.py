"""The ``aperag`` command line."""
