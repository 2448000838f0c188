"""Query strings, ranges and positions of an event stream that are wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aperag_testing.refusals import DETAIL, Attack, unrefused

if TYPE_CHECKING:
    import httpx

Person = Any
Victim = Any

HUGE = "9" * 5000

INVALID_LISTS = (
    "page=0",
    "page=-1",
    "page=1000001",
    f"page={2**64}",
    f"page={HUGE}",
    "page=1e3",
    "page=NaN",
    "page=%00",
    "page=",
    "page=1;DROP%20TABLE%20document",
    "page_size=0",
    "page_size=-5",
    "page_size=101",
    f"page_size={2**64}",
    "sort_by=secret",
    "sort_by=name;DROP%20TABLE%20document",
    "sort_by=NAME",
    "sort_order=sideways",
    "sort_order=asc,id",
)


@pytest.mark.usefixtures("untouched")
async def test_an_invalid_page_or_order_is_refused(alice: Person, victim: Victim) -> None:
    attacks = [Attack(query, "GET", f"{victim.documents}?{query}", 422) for query in INVALID_LISTS]
    attacks += [
        Attack(query, "GET", f"/collections?{query}", 422)
        for query in ("page=0", f"page={2**63}", "page_size=0", "page_size=1001", "page_size=x")
    ]
    attacks.append(Attack("NUL", "GET", f"{victim.documents}?search=a%00b", 400, "VALIDATION_ERROR"))
    assert await unrefused(alice.http, attacks) == []


async def test_the_last_page_there_can_be_is_empty(alice: Person, victim: Victim) -> None:
    for path in (f"{victim.documents}?page=1000000&page_size=100", "/collections?page=1000000&page_size=1000"):
        answer = await alice.http.get(path)
        assert (answer.status_code, answer.json()["items"]) == (200, [])


async def test_a_search_for_names_takes_every_character_as_itself(alice: Person) -> None:
    collection = await alice.collection()
    names = ("100%.txt", "snake_case.txt", "it's.txt", "snakeXcase.txt", "한국.txt", "[a-z].txt")
    for name in names:
        await alice.uploaded(collection, name, name)
    found = {
        "%": {"100%.txt"},
        "_": {"snake_case.txt"},
        "%%": set(),
        "\\": set(),
        "\\%": set(),
        "'": {"it's.txt"},
        "' OR '1'='1": set(),
        "SNAKE_": {"snake_case.txt"},
        "한": {"한국.txt"},
        "[a-z]": {"[a-z].txt"},
        "x" * 7_000: set(),
        "": set(names),
    }
    for search, expected in found.items():
        answer = await alice.http.get(f"/collections/{collection}/documents", params={"search": search})
        assert {item["name"] for item in answer.json()["items"]} == expected, search[:20]


WHOLE = "0123456789"
RANGES: dict[str, tuple[int, str]] = {
    "bytes=0-0": (206, "0"),
    "bytes=4-": (206, "456789"),
    "bytes=-3": (206, "789"),
    "bytes=-99": (206, WHOLE),
    "bytes=8-99": (206, "89"),
    "Bytes=1-2": (206, "12"),
    "bytes=5-" + "9" * 30: (206, "56789"),
    "bytes=10-": (416, ""),
    "bytes=99-100": (416, ""),
    "bytes=-0": (416, ""),
    "bytes=" + "9" * 30 + "-": (416, ""),
    "bytes=5-2": (200, WHOLE),
    "bytes=0-1,4-5": (200, WHOLE),
    "bytes=-": (200, WHOLE),
    "bytes=": (200, WHOLE),
    "bytes": (200, WHOLE),
    "bytes=a-b": (200, WHOLE),
    "bytes=0x1-2": (200, WHOLE),
    "bytes=--1": (200, WHOLE),
    "bytes=\xb2-\xb3": (200, WHOLE),
    "lines=1-2": (200, WHOLE),
    f"bytes={HUGE}-": (200, WHOLE),
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("route", ["download", "object?path=original.txt"])
async def test_a_range_is_honoured_refused_or_ignored(alice: Person, victim: Victim, route: str) -> None:
    path = f"{victim.documents}/{victim.document}/{route}"
    for header, (status, content) in RANGES.items():
        headers = {"range": header.encode("latin-1")}
        answer = await alice.http.get(path, headers=headers)
        assert answer.status_code == status, header
        if status == 416:
            assert answer.headers["content-range"] == "bytes */10"
            assert await unrefused(alice.http, [Attack(header, "GET", path, 416, DETAIL, {"headers": headers})]) == []
        else:
            assert (answer.text, answer.headers["content-length"]) == (content, str(len(content))), header


NO_OBJECTS = {
    404: (
        "nope.md",
        "original.txt/x",
        "assets",
        "x" * 1000,
        "한" * 300,
        "/".join(["한" * 60] * 14),
        "%FF",
        "user-{owner}/{collection}/{document}",
    ),
    400: (
        "..",
        ".",
        "/",
        "../original.txt",
        "../../../../etc/passwd",
        "/etc/passwd",
        "%2e%2e/%2e%2e",
        "..\\..\\x",
        "original.txt/",
        "a//b",
        "%00",
        "original.txt%00.md",
        ".incoming-0",
        "user-{owner}/{collection}/{document}/../../x",
    ),
}


@pytest.mark.usefixtures("untouched")
async def test_no_path_leads_out_of_the_document(alice: Person, victim: Victim) -> None:
    codes = {404: "RESOURCE_NOT_FOUND", 400: "INVALID_PARAMETER"}
    base = f"{victim.documents}/{victim.document}/object"
    own = {"owner": alice.id, "collection": victim.collection, "document": victim.document}
    attacks = [
        Attack(path[:40], "GET", f"{base}?path={path.format(**own)}", status, codes[status])
        for status, paths in NO_OBJECTS.items()
        for path in paths
    ]
    attacks += [Attack(query, "GET", base + query, 422) for query in ("", "?path=", "?path=" + "x" * 1025)]
    assert await unrefused(alice.http, attacks) == []


async def test_a_directory_is_no_object(alice: Person, victim: Victim, settings: Any) -> None:
    below = f"user-{alice.id}/{victim.collection}/{victim.document}/assets"
    (settings.objects.directory / below).mkdir()
    answer = await alice.http.get(f"{victim.documents}/{victim.document}/object", params={"path": "assets"})
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_NOT_FOUND")


@pytest.mark.usefixtures("untouched")
async def test_a_position_that_is_none_begins_with_a_reset(served: httpx.AsyncClient, victim: Victim) -> None:
    bad = ("x", "1", "1-", "-1", "1-2-3", "-1--1", "999-1", f"1-{10**15}", f"{HUGE}-1", "1-\xb2", "' OR 1=1")
    for route in ("/events", f"{victim.documents}/{victim.document}/events"):
        for position in bad:
            headers = {"last-event-id": position.encode("latin-1")}
            async with asyncio.timeout(15), served.stream("GET", route, headers=headers) as answer:
                assert answer.status_code == 200
                lines = answer.aiter_lines()
                assert [(await anext(lines)).partition(":")[0], await anext(lines)] == ["id", "event: reset"], position
