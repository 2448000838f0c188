"""Commands that run the stack on this machine; of the command line only this package imports ``aperag_standalone``."""
