"""The AsyncAPI document and its page."""
