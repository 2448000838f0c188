"""Names, paths, ranges, cursors, ids and pages as nobody would think of them."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aperag_api.kernel.http.answers import named
from aperag_api.kernel.paging import Page, Paged
from aperag_api.kernel.streaming.fanout import Position
from aperag_api.kernel.validation import MAX_DEPTH, check, shown
from aperag_api.knowledge.contents.ranges import RangeNotSatisfiable, content_disposition, parse_range
from aperag_api.knowledge.uploads.names import MAX_NAME, SUFFIXES, clean_name, suffix_of
from aperag_common import errors
from aperag_common.objects import InvalidObjectPath, LocalObjectStore

ANY = st.text(st.characters(), max_size=300)
PIECES = [*'./\\ \0\n\t%:~"', "..", "\u202e", "\ud800", "\u00e9", "e\u0301", "차", ".txt", ".incoming-"]
SPECIAL = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | ANY,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(ANY, below, max_size=4),
    max_leaves=20,
)


@given(ANY | SPECIAL)
@example("a\\..\\b.txt")
@example("../../etc/passwd")
def test_a_name_is_one_component_that_can_be_written_and_read(raw: str) -> None:
    try:
        name = clean_name(raw)
    except errors.InvalidParameter as refused:
        refused.message.encode("utf-8", errors="strict")
        return
    assert 0 < len(name) <= MAX_NAME
    assert not {"/", "\\", "\0", "\n", "\r"} & set(name)
    assert name not in {".", ".."}
    assert name == unicodedata.normalize("NFC", name) == clean_name(name)
    name.encode()


@given(ANY | SPECIAL, st.sampled_from(sorted(SUFFIXES)))
def test_a_suffix_is_one_of_the_list_or_refused(stem: str, suffix: str) -> None:
    for name in (stem, stem + suffix, stem + suffix.upper()):
        try:
            found = suffix_of(name)
        except errors.InvalidParameter:
            continue
        assert found in SUFFIXES
        assert name.lower().endswith(found)


@given(ANY | SPECIAL)
def test_a_name_stays_inside_its_header_and_comes_back_whole(name: str) -> None:
    try:
        name = clean_name(name)
    except errors.InvalidParameter:
        return
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    plain, _, exact = header.partition("; filename*=UTF-8''")
    assert unquote(exact) == name
    assert re.fullmatch(r'attachment; filename="[^"\\]*"', plain)


@given(ANY | SPECIAL)
@example("a/../../b")
@example("/etc/passwd")
@example("a//b")
def test_no_path_of_an_object_leaves_the_store(path: str) -> None:
    root = Path("/nowhere/objects")
    try:
        found = LocalObjectStore(root).local_path(path)
    except InvalidObjectPath:
        return
    assert found is not None
    assert root in found.parents
    assert ".." not in found.parts


@given(ANY | st.from_regex(r"[bB]ytes ?= ?[0-9]{0,30} ?- ?[0-9]{0,30}", fullmatch=True), st.integers(0, 10**12))
def test_a_range_lies_inside_the_object(header: str, size: int) -> None:
    try:
        part = parse_range(header, size)
    except RangeNotSatisfiable:
        return
    if part is not None:
        assert 0 <= part.start < part.end <= size


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 10**9))
def test_every_range_that_begins_inside_is_answered(start: int, more: int, size: int) -> None:
    if start < size:
        part = parse_range(f"bytes={start}-{start + more}", size)
        assert part is not None
        assert (part.start, part.end) == (start, min(start + more + 1, size))


@given(ANY | st.from_regex(r"[0-9]{0,25}-[0-9]{0,25}", fullmatch=True))
@example("١-٢")
@example("1_0-1")
@example("+1-1")
@example("9" * 5000 + "-1")
def test_a_cursor_is_a_position_or_none(text: str) -> None:
    found = Position.parse(text)
    if found is not None:
        assert Position.parse(str(found)) == found
        assert max(found.epoch, found.seq) < 10**19


@given(st.integers(0, 10**19 - 1), st.integers(0, 10**19 - 1))
def test_every_position_comes_back(epoch: int, seq: int) -> None:
    assert Position.parse(str(Position(epoch, seq))) == Position(epoch, seq)


@given(ANY)
def test_a_request_id_can_be_logged_and_sent_back(given_id: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", named(given_id))


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 1000))
def test_pages_hold_everything_once(total: int, page: int, page_size: int) -> None:
    answer = Paged[int].of([], total=total, page=Page(page, page_size))
    assert (answer.total_pages - 1) * page_size < max(total, 1) <= answer.total_pages * page_size
    assert answer.has_next == (page * page_size < total)
    assert answer.has_prev == (page > 1)


@given(JSON)
def test_what_passes_the_check_can_be_stored_and_answered(body: object) -> None:
    try:
        check(body)
    except errors.ValidationFailed as refused:
        json.dumps(refused.details, allow_nan=False).encode()
        return
    text = json.dumps(body, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\0" not in text


@given(JSON)
def test_whatever_is_echoed_is_short_and_json(value: object) -> None:
    answer = shown([{"type": "t", "loc": ("body", "a"), "msg": "m", "input": value}])
    assert len(json.dumps(answer, allow_nan=False, ensure_ascii=False).encode()) < 64 * 1024


@given(st.integers(MAX_DEPTH + 1, 3000), st.sampled_from([list, dict]))
def test_no_depth_is_too_deep_to_be_refused(depth: int, kind: type) -> None:
    value: object = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    with pytest.raises(errors.ValidationFailed):
        check(value)
