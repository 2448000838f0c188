"""Log lines of our code and of the libraries, in one shape on one stream."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from opentelemetry import trace

from aperag_common.sparing import without

with without("rich"):  # with which structlog would draw tracebacks for people
    import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# They install handlers of their own (FastStream at import, coloured; uvicorn unless told not to).
LIBRARIES = frozenset({"uvicorn", "sqlalchemy", "nats", "faststream", "fastmcp"})
# One line per statement, request or message says nothing that a span does not say better.
QUIET = ("uvicorn.access", "sqlalchemy", "httpx", "httpcore", "faststream.access.nats", "asyncio")


def configure(level: str, *, json: bool, service: str) -> None:
    """Everything at or above ``level`` goes to stderr; calling it again replaces what was configured."""
    shared = _shared(service)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(json=json)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    _adopt_libraries(root.level)


def _shared(service: str) -> list[Processor]:
    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_service,
        _add_span,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _add_span(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def _rendering(*, json: bool) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    # Not the rich traceback that it would choose: that prints local variables, and takes seconds.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _adopt_libraries(level: int) -> None:
    for name in [*LIBRARIES, *logging.root.manager.loggerDict]:  # a copy: getLogger adds to the latter
        if name.partition(".")[0] in LIBRARIES:
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
