"""Names of documents that agents add."""

from __future__ import annotations

import pytest

from aperag_mcp.documents.naming import name_of


@pytest.mark.parametrize(
    ("given", "title", "url", "text", "name"),
    [
        ("notes.txt", "Title", "", "x", "notes.txt"),
        ("notes", "", "", "x", "notes.md"),
        ("release 1.2 of it", "", "", "x", "release 1.2 of it.md"),
        (" ", "", "", "# A heading\n\nand text", "A heading.md"),
        ("", "Tea: green/black?", "https://example.org/tea", "", "Tea green black.md"),
        ("", "", "https://example.org/wiki/Tea", "", "example org wiki Tea.md"),
        ("", "차 <b>", "", "", "차 b.md"),
    ],
)
def test_a_name_is_what_was_given_or_what_the_source_says(
    given: str, title: str, url: str, text: str, name: str
) -> None:
    assert name_of(given, title=title, url=url, text=text) == name


def test_a_text_without_a_heading_is_named_by_what_it_says() -> None:
    first, again, other = (name_of("", text=text) for text in ("one", "one", "two"))
    assert first == again != other


def test_names_do_not_outgrow_what_the_gateway_takes() -> None:
    assert len(name_of("", title="long " * 200)) <= 255
