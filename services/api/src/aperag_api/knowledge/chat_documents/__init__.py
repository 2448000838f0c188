"""Files of a chat: uploaded there, searched there, gone with it."""
