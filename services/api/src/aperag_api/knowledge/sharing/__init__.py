"""Publishing one's own collections, and taking them back."""
