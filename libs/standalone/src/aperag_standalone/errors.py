"""What can go wrong on one machine, always with what a person can do about it."""

from __future__ import annotations


class StandaloneError(Exception):
    """An expected failure; ``hint`` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  {hint}" if hint else message)
        self.message = message
        self.hint = hint


REINSTALL = "install ApeRAG again as it was installed: `uv tool install`, pipx or pip; in a checkout delete .venv and run ./justw up"
"""Where a package is missing or not whole."""


class StartFailed(StandaloneError):
    """A process ended, or did not become ready, while it was being started."""


class PortTaken(StandaloneError):
    """Something else listens where a part of the stack should."""


class AlreadyRunning(StandaloneError):
    """Another supervisor holds this data directory."""


class NotRunning(StandaloneError):
    """No supervisor holds this data directory."""


class CannotRunAsRoot(StandaloneError):
    """PostgreSQL refuses root, and this machine offers no way around it."""
