"""What commands end with, always with what a person can do about it."""

from __future__ import annotations


class CliError(Exception):
    """An expected failure; ``hint`` says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message}\n  {hint}" if hint else message)
        self.message = message
        self.hint = hint


class NotInstalled(CliError):
    """The command needs a package that is not installed."""


class WrongState(CliError):
    """The stack on this machine is not running, or already is."""


class StackFailed(CliError):
    """The stack on this machine could not do what was asked."""
