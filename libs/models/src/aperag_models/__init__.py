"""Providers of models: how a model that somebody chose is found, called within limits, and what goes wrong is said."""
