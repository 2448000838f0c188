"""Signing in with an account at an OAuth or OpenID Connect provider."""
