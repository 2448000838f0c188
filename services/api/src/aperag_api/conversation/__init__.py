"""Bots, their chats, and every way to ask them."""
