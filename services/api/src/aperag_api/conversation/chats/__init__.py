"""Chats: conversations with a bot, and their history."""
