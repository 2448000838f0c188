"""Logins: from a name and a password to a cookie, and its end."""
