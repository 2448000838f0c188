"""Commands that talk to a gateway, one module for each thing that they are about."""
