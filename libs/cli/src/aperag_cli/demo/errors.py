"""What can go wrong with the demonstration itself."""

from __future__ import annotations

from aperag_cli.errors import CliError


class DemoFailed(CliError):
    """The demonstration did not show what it promises."""
