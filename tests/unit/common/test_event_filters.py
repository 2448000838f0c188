"""Which events a reader wants, as a predicate and as subjects: both must agree."""

from __future__ import annotations

import pytest

from aperag_common import subjects
from aperag_common.events import facts
from aperag_common.events.filters import filter_subjects, matches, unknown

KNOWN = [fact.type_name for fact in facts.FACTS]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (None, ["aperag.evt.u1.>"]),
        ([], ["aperag.evt.u1.>"]),
        (["document.*"], ["aperag.evt.u1.document.*"]),
        (
            ["index.failed", "document.*", "document.indexed"],
            ["aperag.evt.u1.document.*", "aperag.evt.u1.index.failed"],
        ),
        (["index.failed", "index.failed"], ["aperag.evt.u1.index.failed"]),
    ],
)
def test_filters_of_one_owner(types: list[str] | None, expected: list[str]) -> None:
    assert filter_subjects("u1", types) == expected


def test_filters_of_everybody() -> None:
    assert filter_subjects(None, None) == ["aperag.evt.>"]
    assert filter_subjects(None, ["document.*"]) == ["aperag.evt.*.document.*"]


@pytest.mark.parametrize("types", [None, ["document.*"], ["index.failed", "key.*"], ["document.indexed", "document.*"]])
def test_subjects_bring_exactly_what_matches(types: list[str] | None) -> None:
    filters = [it.split(".") for it in filter_subjects("u1", types)]
    for type_ in KNOWN:
        tokens = subjects.event("u1", *type_.split(".")).split(".")
        brought = [all(a in {"*", b} for a, b in zip(f, tokens, strict=True)) for f in filters if f[-1] != ">"]
        brought += [f[:3] == tokens[:3] for f in filters if f[-1] == ">"]
        assert any(brought) is matches(types, type_)
        assert sum(brought) <= 1, "the server refuses filters that overlap"


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (KNOWN, []),
        (["document.*"], []),
        (["documents.*", "document.index", "doc.*"], ["documents.*", "document.index", "doc.*"]),
    ],
)
def test_a_slip_of_the_pen_is_found(types: list[str], expected: list[str]) -> None:
    assert unknown(types) == expected


@pytest.mark.parametrize("owner", ["*", ">", "a.b", ""])
def test_an_owner_that_is_no_token_is_refused(owner: str) -> None:
    with pytest.raises(ValueError, match="not a subject token"):
        filter_subjects(owner, ["document.*"])
    with pytest.raises(ValueError, match="not a subject token"):
        filter_subjects(owner, None)
