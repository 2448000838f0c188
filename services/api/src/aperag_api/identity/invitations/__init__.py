"""Invitations to register, each for one person and one role."""
