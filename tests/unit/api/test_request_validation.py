"""What a body may hold, and how an invalid one is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aperag_api.kernel.masking import MASK
from aperag_api.kernel.validation import MAX_DEPTH, MAX_VALUES, SHOWN_CHARACTERS, SHOWN_ERRORS, check, shown
from aperag_common import errors


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("\0", ""),
        ({"a": "x\0"}, "a"),
        ({"a": [1, {"b": "\ud800"}]}, "a.1.b"),
        ({"a": "한\udfff"}, "a"),
        ({"a": {"\udc00": 1}}, "a.a name"),
        ({"a": float("nan")}, "a"),
        ([1.0, float("inf")], "1"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_place(body: object, field: str) -> None:
    with pytest.raises(errors.ValidationFailed) as refused:
        check(body)
    assert refused.value.details == {"field": field}
    assert refused.value.message.encode()


@pytest.mark.parametrize("body", [None, True, 1, 1.5, "", "🍵 한국어 \u202e\n", {"a": [{"b": None}]}, 10**400])
def test_everything_else_passes(body: object) -> None:
    check(body)


def nested(depth: int) -> Any:
    deep: Any = 1
    for _ in range(depth):
        deep = [deep]
    return deep


def test_neither_depth_nor_number_is_without_end() -> None:
    check(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(errors.ValidationFailed, match="nested"):
            check(nested(depth))
    check([0] * MAX_VALUES)
    with pytest.raises(errors.ValidationFailed):
        check([[0] * MAX_VALUES])


def error(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "string_type", "loc": ("body", "title"), "msg": "Input should be a string", "input": value, **more}


@pytest.mark.parametrize(
    ("value", "echo"),
    [
        ("short", "short"),
        (None, None),
        (2**70, 2**70),
        (1.5, 1.5),
        (float("nan"), "nan"),
        ("\ud800", "?"),
        ("x" * 1000, "x" * SHOWN_CHARACTERS + "…"),
        ({"a": {"b": {"c": {"d": 1}}}}, {"a": {"b": {"c": "…"}}}),
        (list(range(100)), list(range(10))),
        (ValueError("said"), "said"),
    ],
)
def test_what_was_sent_is_echoed_short_and_as_json(value: Any, echo: Any) -> None:
    (answer,) = shown([error(value)])
    assert answer == {**error(echo), "loc": ["body", "title"]}
    json.dumps(answer, allow_nan=False, ensure_ascii=False).encode()


def test_the_constraint_that_was_broken_is_kept() -> None:
    (answer,) = shown([error(0, ctx={"ge": 1})])
    assert answer["ctx"] == {"ge": 1}


def test_a_body_that_was_not_read_as_json_says_how_to_send_it() -> None:
    (answer,) = shown([error(b'{"title": "t"}')])
    assert "application/json" in answer["msg"]


def test_errors_without_number_are_cut() -> None:
    assert len(shown([error(n) for n in range(1000)])) == SHOWN_ERRORS


@pytest.mark.parametrize(
    ("place", "given", "told"),
    [
        (("body", "password"), ["geheim"], MASK),
        (("body", "config", "secret_access_key"), {"a": "geheim"}, MASK),
        (("body", "tokens", 0), "geheim", MASK),
        (("query", "api_key"), "geheim", MASK),
        (("body",), "geheim", MASK),
        (("body",), ["geheim"], MASK),
        (("body",), b'{"password": "geheim"}', MASK),
        (("body", "username"), {"password": "geheim", "name": "anna"}, {"password": MASK, "name": "anna"}),
        (("body",), {"title": 1, "config": {"password": "geheim"}}, {"title": 1, "config": {"password": MASK}}),
        (("body", "title"), 7, 7),
    ],
    ids=str,
)
def test_what_may_be_a_secret_is_not_echoed(place: tuple[str, ...], given: object, told: object) -> None:
    (error,) = shown([{"type": "string_type", "loc": place, "msg": "Input should be a valid string", "input": given}])
    assert error["input"] == told
    assert "geheim" not in str(error)
