"""Refusals that end by themselves."""

from __future__ import annotations

from aperag_common import errors


class TooManyRequests(errors.Busy):
    """The caller has to wait."""

    code, number, status = "RATE_LIMIT_EXCEEDED", 1006, 429
