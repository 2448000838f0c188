"""Flows of knowledge and common bots: kept, checked, tried."""
