"""Turns of chats: begun here, run by the agent service, followed from any replica."""
