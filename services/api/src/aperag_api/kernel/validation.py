"""What a request's body may hold, and how the answer to an invalid one shows it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from types import NoneType
from typing import Any, ClassVar, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from aperag_api.kernel.masking import MASK, is_secret
from aperag_common import errors

MAX_VALUES = 20_000
"""Far more than any route takes: looking at millions of them would hold up everybody else's requests."""

MAX_DEPTH = 64
"""Levels of nesting: far more than any route takes, and few enough for whatever reads a value later."""

SHOWN_ERRORS = 50
SHOWN_CHARACTERS = 200
SHOWN_ENTRIES = 10
SHOWN_DEPTH = 3
_MORE = "…"

MOST_PER_CHARACTER = 18
"""What U+FDFA, the longest of them, becomes by Unicode's compatibility normalisation."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_Place: TypeAlias = "tuple[()] | tuple[_Place, str | int]"
"""The way to a value, innermost name first: it is spelled out only where something is wrong."""


Unfilled = BeforeValidator(lambda value: None if value == "" else value)
"""For an optional filter in a query: forms also send those that nobody filled in. Bounds stand inside, on what is no null."""


def ignoring(default: object = None) -> WrapValidator:
    """For an optional field that the contract ignores: what does not fit is as good as absent."""

    def read(value: object, valid: ValidatorFunctionWrapHandler) -> object:
        try:
            return valid(value)
        except ValidationError:
            return default

    return WrapValidator(read)


def normalised_length(text: str) -> int:
    """Characters as searches and models see them: a single one may stand for eighteen."""
    return len(text) if text.isascii() else len(unicodedata.normalize("NFKC", text))


def normalised_within(most: int) -> AfterValidator:
    """At most so many characters, also where those that stand for several are written out."""

    def check(text: str) -> str:
        if len(text) * MOST_PER_CHARACTER > most and normalised_length(text) > most:
            raise ValueError(f"it has more than {most:,} characters when they are written out")
        return text

    return AfterValidator(check)


class BodyPart(BaseModel):
    """A part of a JSON body. What may be absent may also be null: clients made from a schema send every field.

    ``NEVER_NULL`` are fields whose default does or allows more than a null may have meant.
    """

    NEVER_NULL: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, part: object) -> object:
        if not isinstance(part, dict) or None not in part.values():
            return part
        named = _with_defaults(cls) - cls.NEVER_NULL
        return {name: value for name, value in part.items() if value is not None or name not in named}


@cache
def _with_defaults(model: type[BaseModel]) -> frozenset[str]:
    """Names of the fields that are not required and have no meaning for null."""
    return frozenset(
        field.alias or name
        for name, field in model.model_fields.items()
        if not field.is_required() and field.annotation is not Any and NoneType not in get_args(field.annotation)
    )


class RequestBody(BodyPart):
    """The base of every JSON body.

    Python's JSON reader takes what PostgreSQL cannot hold (NUL, half of a surrogate pair) and what no JSON answer
    can echo (NaN). Refused here they are named with their place, whatever becomes of the value.
    """

    @model_validator(mode="before")
    @classmethod
    def _holds_what_can_be_stored(cls, body: object) -> object:
        check(body)
        return body


def check(body: object) -> None:
    """Raises ``ValidationFailed`` at a value that cannot be stored or answered."""
    pending: list[tuple[_Place, int, object]] = [((), 0, body)]
    seen = 0
    while pending:  # no recursion: a client decides how deep its body is
        place, depth, value = pending.pop()
        seen += len(value) if isinstance(value, dict | list) else 0
        if seen > MAX_VALUES:
            raise errors.ValidationFailed(f"The body holds more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise errors.ValidationFailed(f"The body is nested more than {MAX_DEPTH} levels deep")
        if isinstance(value, dict):
            pending += [((place, "a name"), depth, name) for name in value]
            pending += [((place, name), depth + 1, held) for name, held in value.items()]
        elif isinstance(value, list):
            pending += [((place, at), depth + 1, held) for at, held in enumerate(value)]
        elif (wrong := _wrong_with(value)) is not None:
            field = _spelled(place)
            raise errors.ValidationFailed(f"{field or 'The body'} holds {wrong}", details={"field": field})


def _spelled(place: _Place) -> str:
    names: list[str] = []
    while place:
        place, name = place
        names.append(_short(str(name)))
    return ".".join(reversed(names[:SHOWN_ENTRIES]))


def _wrong_with(value: object) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value}, which is no number in JSON"
    if isinstance(value, str):
        if "\0" in value:
            return "the character U+0000, which cannot be stored"
        if _SURROGATE.search(value):
            return "half of a surrogate pair, which is no character"
    return None


def shown(invalid: Sequence[Any]) -> list[dict[str, Any]]:
    """FastAPI's errors with whatever they echo cut short, and always as valid JSON."""
    return [_shown(error) for error in invalid[:SHOWN_ERRORS]]


def _shown(error: dict[str, Any]) -> dict[str, Any]:
    if isinstance(error.get("input"), bytes):
        # FastAPI gives the raw bytes to the model where the content type does not say that they are JSON.
        error = {**error, "type": "json_type", "msg": "The body must be JSON with Content-Type: application/json"}
    if "input" in error and _is_secret_input(error):
        error = {**error, "input": MASK}
    return {**_plain(error, SHOWN_DEPTH + 1), "loc": [_plain(part, 0) for part in error["loc"]]}


def _is_secret_input(error: dict[str, Any]) -> bool:
    """Whether the value that is wrong may be a secret: one by its name, or a body without any names."""
    place = error["loc"]
    return any(isinstance(part, str) and is_secret(part) for part in place) or (
        len(place) == 1 and not isinstance(error["input"], dict)
    )


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, dict | list | tuple):
        return _few(value, depth - 1) if depth else _MORE
    if isinstance(value, str | bytes):
        return _short(value)
    whole = value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if whole else _short(str(value))


def _few(value: dict[Any, Any] | Sequence[Any], depth: int) -> Any:
    if isinstance(value, dict):
        first = list(value.items())[:SHOWN_ENTRIES]
        return {_short(str(name)): MASK if is_secret(str(name)) else _plain(held, depth) for name, held in first}
    return [_plain(held, depth) for held in value[:SHOWN_ENTRIES]]


def _short(value: str | bytes) -> str:
    text = value[: SHOWN_CHARACTERS + 1]
    text = text.decode(errors="replace") if isinstance(text, bytes) else text.encode(errors="replace").decode()
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + _MORE
