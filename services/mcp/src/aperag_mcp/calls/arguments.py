"""Arguments that do not fit, in words that an agent can act on."""

from __future__ import annotations

from typing import Any

from fastmcp.exceptions import ValidationError
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from pydantic import ValidationError as PydanticValidationError

from aperag_mcp.errors import Refused


class ExplainingArguments(Middleware):
    """The framework's own words name its types and link to its pages."""

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        try:
            return await call_next(context)
        except (ValidationError, PydanticValidationError) as err:
            cause = err if isinstance(err, PydanticValidationError) else err.__cause__
            if not isinstance(cause, PydanticValidationError):
                raise
            message = f"{explained(cause)}. Change the arguments of {context.message.name} and call it again."
            raise Refused(message) from err


def explained(error: PydanticValidationError) -> str:
    parts = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in problem["loc"])
        parts.append(f"{field}: {_words(problem['type'], problem['msg'])}")
    return "; ".join(parts)


def _words(kind: str, message: str) -> str:
    if kind in {"missing", "missing_argument", "missing_keyword_only_argument"}:
        return "is required"
    if kind in {"extra_forbidden", "unexpected_keyword_argument"}:
        return "there is no such argument"
    return message[:1].lower() + message[1:]
