"""Traces: how spans are made, carried along messages, exported and read again."""

from __future__ import annotations

from aperag_common.telemetry.instrumentation import init_fastapi_instrumentation, init_sqlalchemy_instrumentation
from aperag_common.telemetry.tracing import Gateway, Telemetry

__all__ = ["Gateway", "Telemetry", "init_fastapi_instrumentation", "init_sqlalchemy_instrumentation"]
