"""The stack as a service of the user's systemd: starts with the session or the machine, and again when it fails."""
