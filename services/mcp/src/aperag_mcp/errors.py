"""What a call is refused for."""

from __future__ import annotations

import logging

from fastmcp.exceptions import ToolError


class Refused(ToolError):
    """One sentence what is wrong, one what to do. The caller is told; it is no error of ours that a log should hold."""

    def __init__(self, message: str) -> None:
        super().__init__(message, log_level=logging.DEBUG)
