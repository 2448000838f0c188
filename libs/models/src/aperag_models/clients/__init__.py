"""What a provider is asked for, in the dialects that providers speak."""
