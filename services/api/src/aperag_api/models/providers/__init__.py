"""Providers of models: those of the installation, and each user's own."""
