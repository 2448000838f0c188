"""The AsyncAPI 3 document: channels that other services use, as they are declared here, then the internal ones."""
