"""Each call as a span of its caller's trace, and in the metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastmcp.exceptions import DisabledError, NotFoundError
from fastmcp.server.dependencies import fastmcp_request_ctx, get_http_headers
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools.base import ToolResult
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer

    from aperag_mcp.calls.measures import CallMetrics


@dataclass
class Observing(Middleware):
    """``tracer`` may be one that records nothing: the caller's context is passed on all the same."""

    tracer: Tracer
    metrics: CallMetrics

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        name = context.message.name
        return await self._observe(context, call_next, name, {"gen_ai.tool.name": name})

    async def on_get_prompt(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        name = context.message.name
        return await self._observe(context, call_next, name, {"gen_ai.prompt.name": name})

    async def on_read_resource(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        return await self._observe(context, call_next, "", {"mcp.resource.uri": str(context.message.uri)})

    async def _observe(
        self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any], name: str, attributes: dict[str, str]
    ) -> Any:
        method = context.method or ""
        parent, links = _parent()
        span = self.tracer.start_span(
            f"{method} {name}".strip(),
            context=parent,
            kind=SpanKind.SERVER,
            attributes={"mcp.method.name": method, **attributes},
            links=links,
        )
        begun = time.perf_counter()
        outcome = "error"
        with trace.use_span(span, end_on_exit=True, record_exception=False):
            try:
                result = await call_next(context)
                outcome = "error" if isinstance(result, ToolResult) and result.is_error else "ok"
            except (NotFoundError, DisabledError) as err:
                name = ""  # what clients make up is neither a label nor a span's name
                span.update_name(method)
                _fail(span, err)
                raise
            except Exception as err:
                _fail(span, err)
                raise
            finally:
                self.metrics.calls.labels(method, name, outcome).inc()
                self.metrics.seconds.labels(method, name).observe(time.perf_counter() - begun)
        return result


def _parent() -> tuple[Context | None, list[Link]]:
    """The context that the message names, else that of the HTTP request; None is the current one.

    Where both are there, the message's is the agent's own and the request's is only linked.
    """
    request = fastmcp_request_ctx.get()
    meta = (request.meta if request is not None else None) or {}
    named = propagate.extract({key: value for key, value in meta.items() if isinstance(value, str)})
    current = trace.get_current_span().get_span_context()
    if trace.get_current_span(named).get_span_context().is_valid:
        return named, [trace.Link(current)] if current.is_valid else []
    if current.is_valid:
        return None, []
    return propagate.extract(get_http_headers()), []


def _fail(span: Span, err: Exception) -> None:
    span.set_attribute("error.type", type(err).__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(err)))
