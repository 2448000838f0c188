"""Providers of models, what they offer, and the prompts that models are given."""
