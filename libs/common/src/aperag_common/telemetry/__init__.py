"""Traces: how spans are made, carried along messages, exported and read again."""

from __future__ import annotations

from aperag_common.telemetry.tracing import Telemetry

__all__ = ["Telemetry"]
