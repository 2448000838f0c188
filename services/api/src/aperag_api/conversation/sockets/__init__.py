"""Chats over WebSocket: questions in, answers out as they are made."""
