"""Contracts and edges that the services share; no business rules of one service live here."""
