"""What is counted about calls, beside what every service counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class CallMetrics:
    """``name`` is that of a tool or prompt that exists, else empty: what clients make up is no label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter("aperag_mcp_calls", "MCP calls answered", ("method", "name", "outcome"), registry=registry)
        self.seconds = Histogram(
            "aperag_mcp_call_duration_seconds",
            "Time that an MCP call took",
            ("method", "name"),
            buckets=SECONDS,
            registry=registry,
        )
