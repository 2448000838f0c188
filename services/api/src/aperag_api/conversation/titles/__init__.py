"""Names of chats, made of what was said in them."""
