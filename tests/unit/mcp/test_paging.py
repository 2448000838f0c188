"""Pages of a document's text."""

from __future__ import annotations

import pytest

from aperag_mcp.documents.paging import Page, bytes_for, page_of


def read_all(text: str, characters: int) -> list[Page]:
    """As an agent does: from the beginning, each page at the end of the one before."""
    data = text.encode()
    pages: list[Page] = []
    offset = 0
    while offset < len(data):
        part = data[offset : offset + bytes_for(characters)]
        page = page_of(part, offset=offset, total=len(data), characters=characters)
        pages.append(page)
        assert page.end > offset, "no progress"
        offset = page.end
    return pages


@pytest.mark.parametrize("characters", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize(
    "text",
    ["plain words only", "茶の湯 " * 40, "김치 🍵🍃\n" * 30, "one\n\ntwo\n\nthree", "a" * 999 + "é", "\n" * 50],
)
def test_pages_together_are_the_whole_text(text: str, characters: int) -> None:
    pages = read_all(text, characters)
    assert "".join(page.text for page in pages) == text
    assert all(len(page.text) <= characters for page in pages)
    assert [page.start for page in pages[1:]] == [page.end for page in pages[:-1]]


def test_a_page_ends_with_a_line_where_one_ends_near() -> None:
    data = ("word " * 18 + "\n" + "next line " * 20).encode()
    page = page_of(data, offset=0, total=len(data), characters=100)
    assert page.text.endswith("word \n")


def test_a_line_that_ends_far_before_costs_no_half_page() -> None:
    data = ("short\n" + "x" * 500).encode()
    assert len(page_of(data, offset=0, total=len(data), characters=100).text) == 100


def test_an_offset_within_a_character_means_the_next_one() -> None:
    data = "茶は緑".encode()
    page = page_of(data[1:], offset=1, total=len(data), characters=10)
    assert (page.text, page.start, page.end) == ("は緑", 3, 9)
