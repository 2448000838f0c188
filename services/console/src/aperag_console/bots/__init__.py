"""Bots: what answers in chats, from which collections, by which model."""
