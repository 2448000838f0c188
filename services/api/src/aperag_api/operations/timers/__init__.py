"""Timers: what each last did, and running one now."""
