"""Texts that models are told, as templates that people may change."""
