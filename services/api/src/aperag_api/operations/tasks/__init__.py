"""Requested changes as tasks that can be watched and cancelled."""
