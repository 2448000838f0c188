"""How a person comes in and goes out: password, API key, a provider, an invitation."""
