"""What can go wrong with the demonstration itself."""

from __future__ import annotations

from aperag_standalone.errors import StandaloneError


class DemoFailed(StandaloneError):
    """The demonstration did not show what it promises."""
