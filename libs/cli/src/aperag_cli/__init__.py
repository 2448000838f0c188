"""The ``aperag`` command line: a client of any gateway; with ``aperag_standalone`` it also runs the stack."""
