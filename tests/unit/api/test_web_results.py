"""Which web results are shown, in which order, and what a site's llms.txt says."""

from __future__ import annotations

import pytest

from aperag_api.knowledge.web.adapters.results import Results, results_of
from aperag_api.knowledge.web.searching import decide
from aperag_api.knowledge.web.searching.llms_txt import candidates, links_of
from aperag_api.knowledge.web.searching.ports import Found
from aperag_common import errors


def found(url: str, title: str = "T", snippet: str = "") -> Found:
    return Found(title, url, snippet)


@pytest.mark.parametrize(
    ("source", "sites"),
    [
        (None, ()),
        ("", ()),
        (" , ,", ()),
        ("Example.org", ("example.org",)),
        ("a.org, b.org,a.org", ("a.org", "b.org")),
        ("https://docs.example.org:8080/path?x=1", ("docs.example.org",)),
        ("example.org/docs", ("example.org",)),
        ("example.org.", ("example.org",)),
    ],
)
def test_sites_are_read_from_hosts_and_addresses(source: str | None, sites: tuple[str, ...]) -> None:
    assert decide.sites_of(source) == sites


@pytest.mark.parametrize(
    "source",
    ["exa mple.org", "a.org) OR (b.org", "http://[", "-x.org", "a" * 64, ",".join(f"{n}.org" for n in range(21))],
)
def test_what_is_no_site_is_refused(source: str) -> None:
    with pytest.raises(errors.InvalidParameter):
        decide.sites_of(source)


def test_a_restricted_query_names_its_sites() -> None:
    assert decide.restricted("green tea", ()) == "green tea"
    assert decide.restricted("tea", ("a.org", "b.org")) == "tea (site:a.org OR site:b.org)"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://example.org", "https://EXAMPLE.org/"),
        ("https://example.org:443/a/", "https://example.org/a"),
        ("https://example.org/a#part", "https://example.org/a"),
        ("https://example.org/a?utm_source=x&b=1&gclid=y", "https://example.org/a?b=1"),
    ],
)
def test_the_same_page_is_shown_once(one: str, other: str) -> None:
    assert [kept.url for kept in decide.chosen([[found(one), found(other)]], (), 10)] == [one]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://example.org/a", "https://example.org/b"),
        ("https://example.org/?a=1", "https://example.org/?a=2"),
        ("https://example.org/A", "https://example.org/a"),
        ("https://example.org:8443/", "https://example.org/"),
        ("https://a.example.org/", "https://example.org/"),
    ],
)
def test_different_pages_are_both_shown(one: str, other: str) -> None:
    assert len(decide.chosen([[found(one), found(other)]], (), 10)) == 2


def test_results_from_elsewhere_and_what_is_no_page_are_left_out() -> None:
    offered = [
        "https://example.org/",
        "https://docs.example.org/",
        "https://notexample.org/",
        "https://example.org.evil.net/",
        "javascript:alert(1)",
        "/relative",
        "http://[",
        "http://example.org:x/",
        "ftp://example.org/",
        "",
    ]
    kept = decide.chosen([[found(url) for url in offered]], ("example.org",), 10)
    assert [result.url for result in kept] == offered[:2]
    assert [result.url for result in decide.chosen([[found(url) for url in offered]], (), 10)] == offered[:4]


def test_sources_take_turns_so_that_none_crowds_out_another() -> None:
    first = [found(f"https://a.org/{n}") for n in range(5)]
    second = [found("https://b.org/0"), found("https://a.org/1")]
    kept = decide.chosen([first, second], (), 4)
    assert [result.url for result in kept] == [
        "https://a.org/0",
        "https://b.org/0",
        "https://a.org/1",
        "https://a.org/2",
    ]


def test_titles_and_snippets_are_one_line_of_a_bounded_length() -> None:
    (kept,) = decide.chosen([[found("https://a.org/", " a\n\n b ", "x" * 5_000)]], (), 1)
    assert (kept.title, len(kept.snippet)) == ("a b", decide.LONGEST_SNIPPET)
    (unnamed,) = decide.chosen([[found("https://a.org/x", " ")]], (), 1)
    assert unnamed.title == "a.org"


def test_entries_with_more_of_the_querys_words_come_first() -> None:
    listed = [found("u1", "Black tea"), found("u2", "Coffee"), found("u3", "Green tea", "how to brew")]
    assert [entry.url for entry in decide.by_relevance(listed, "brew GREEN tea")] == ["u3", "u1", "u2"]
    assert decide.by_relevance(listed, "") == listed


@pytest.mark.parametrize(
    ("query", "domain", "shown"),
    [("tea", "", "tea"), ("", "a.org", "LLM.txt:a.org"), ("tea", "a.org", "tea + LLM.txt:a.org")],
)
def test_the_shown_query_is_the_contracts(query: str, domain: str, shown: str) -> None:
    assert decide.shown_query(query, domain) == shown


LLMS = """\
# Tea Guide

> All about tea.

See [the blog](https://blog.example.org/), which is no entry.

## Docs

- [Green tea](/green.md): how to brew it
* [Black tea]( https://other.example.org/black "a title" ) : strong
+ [No notes](black.md)
- https://example.org/bare: as some write it
- <https://example.org/angle>

## Optional

- [History](/history.md): for later

## More

- [Last](/last.md)
- [Broken](http://[)
"""


def test_the_links_of_a_list_are_read_with_the_optional_ones_last() -> None:
    entries = links_of(LLMS, "https://example.org/docs/llms.txt")
    assert [(entry.title, entry.url, entry.snippet) for entry in entries] == [
        ("Green tea", "https://example.org/green.md", "how to brew it"),
        ("Black tea", "https://other.example.org/black", "strong"),
        ("No notes", "https://example.org/docs/black.md", ""),
        ("https://example.org/bare", "https://example.org/bare", "as some write it"),
        ("https://example.org/angle", "https://example.org/angle", ""),
        ("Last", "https://example.org/last.md", ""),
        ("History", "https://example.org/history.md", "for later"),
    ]


def test_a_list_of_nothing_but_brackets_is_read_at_once() -> None:
    assert links_of("- [" * 100_000, "https://example.org/") == []
    assert links_of(("- [a](" + "(" * 2_300 + "\n") * 400, "https://example.org/") == []
    assert links_of(("- [a](b" + " " * 2_300 + "\n") * 400, "https://example.org/") == []


@pytest.mark.parametrize(
    ("place", "urls"),
    [
        ("example.org", ["https://example.org/llms.txt", "https://example.org/llms-full.txt"]),
        ("http://example.org:81/", ["http://example.org:81/llms.txt", "http://example.org:81/llms-full.txt"]),
        (
            "example.org/docs/",
            ["https://example.org/docs/llms.txt", "https://example.org/llms.txt", "https://example.org/llms-full.txt"],
        ),
        ("https://example.org/x/llms-full.txt", ["https://example.org/x/llms-full.txt"]),
    ],
)
def test_a_list_is_looked_for_where_the_convention_puts_it(place: str, urls: list[str]) -> None:
    assert candidates(place) == urls


RESULT = """
<div class="result results_links results_links_deep web-result {more}">
  <h2 class="result__title"><a rel="nofollow" class="result__a" href="{href}">Green <b>tea</b></a></h2>
  <a class="result__snippet" href="{href}">How to <b>brew</b> it</a>
</div>
"""
COUNTED = "//duckduckgo.com/l/?uddg=https%3A%2F%2Fexample.org%2Ftea%3Fa%3D1&amp;rut=0af"


@pytest.mark.parametrize("href", [COUNTED, "https://example.org/tea?a=1"])
def test_results_name_the_page_itself(href: str) -> None:
    results = results_of(f"<html><body>{RESULT.format(href=href, more='')}</body></html>".encode())
    assert results == ([("Green tea", "https://example.org/tea?a=1", "How to brew it")], True, False)


@pytest.mark.parametrize(
    ("href", "more"),
    [(COUNTED, "result--ad"), ("//duckduckgo.com/l/?rut=1", ""), ("javascript:x", ""), ("http://[", "")],
)
def test_advertisements_and_what_leads_nowhere_are_no_results(href: str, more: str) -> None:
    assert results_of(RESULT.format(href=href, more=more).encode()).rows == []


@pytest.mark.parametrize(
    ("page", "results"),
    [
        (b"", Results([], known=False, challenged=False)),
        (b"<div class='something else'>Welcome</div>", Results([], known=False, challenged=False)),
        (b"<div class='no-results'>No results.</div>", Results([], known=True, challenged=False)),
        (b"<form id='challenge-form'></form>", Results([], known=False, challenged=True)),
        (b"<div>" * 50_000, Results([], known=False, challenged=False)),
        (b"\xff\xfe\x00\x00", Results([], known=False, challenged=False)),
    ],
    ids=["empty", "other", "nothing found", "challenge", "deep", "no text"],
)
def test_a_page_without_results_says_why(page: bytes, results: Results) -> None:
    assert results_of(page) == results
