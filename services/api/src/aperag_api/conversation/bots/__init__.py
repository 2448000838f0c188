"""Bots: who answers in chats, and how."""
