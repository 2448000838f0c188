"""What answers to refused requests look like, for the OpenAPI description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Refusal(BaseModel):
    """What the platform refuses: ``error_code`` is stable, ``message`` is for people."""

    success: Literal[False]
    error_code: str
    code: int
    message: str
    details: dict[str, Any]
    path: str


class Invalid(BaseModel):
    """What the request itself got wrong: a sentence, a code with its sentence, or where a value does not fit the schema."""

    detail: str | dict[str, str] | list[dict[str, Any]]


class Problem(BaseModel):
    """RFC 9457, for clients that accept ``application/problem+json``; details stand beside these members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    error_code: str
    trace_id: str | None
    request_id: str | None
    retryable: bool


_WHY = {
    400: "A value is not allowed; the message says what is",
    401: "No credential, or one that is not valid",
    403: "The caller may not do this",
    404: "It does not exist, or belongs to somebody else",
    409: "It contradicts what is there",
    413: "The body is too large",
    414: "The query is too long",
    422: "The body or a parameter does not fit the schema",
    429: "Too many requests; Retry-After says when to come back",
    431: "The headers are too long",
    500: "A failure of the platform",
    503: "Something is not available now; Retry-After says when to come back",
}

_SHAPES: tuple[type[BaseModel], ...] = (Refusal, Invalid, Problem)


def _ref(shape: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


# As references, for the framework compiles a model anew for every route and status that names it: a second per start.
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": why,
        "content": {
            "application/json": {"schema": {"anyOf": [_ref(Refusal), _ref(Invalid)]}},
            "application/problem+json": {"schema": _ref(Problem)},
        },
    }
    for status, why in _WHY.items()
}
"""Of every route below /api/v1; ``with_refusals`` adds what they refer to."""


def with_refusals(description: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI description, changed in place: with the shapes that ``REFUSALS`` refers to."""
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    schemas.update({shape.__name__: shape.model_json_schema() for shape in _SHAPES})
    return description
