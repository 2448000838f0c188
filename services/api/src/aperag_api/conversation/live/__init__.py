"""Turns as they are followed live at this gateway."""
