"""Decoding text and placing pages: pure parts of the parse step."""

from __future__ import annotations

import pytest

from aperag_common import errors
from aperag_indexer.parsing.pages import locate_pages
from aperag_indexer.parsing.text import decode

KOREAN = "서울은 대한민국의 수도이며 한강이 도시를 가로질러 흐른다. 많은 사람들이 강변에서 산책을 즐긴다."
CHINESE = "北京是中华人民共和国的首都，拥有悠久的历史和丰富的文化遗产。每年都有许多游客前来参观故宫。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (KOREAN, "utf-8"),
        (KOREAN, "cp949"),
        (CHINESE, "gb18030"),
        (CHINESE, "utf-16"),
        ("naïve café", "utf-8-sig"),
        ("plain", "ascii"),
    ],
)
def test_text_is_read_in_the_encoding_it_was_written_in(text: str, encoding: str) -> None:
    assert decode((text * 5).encode(encoding)) == text * 5


def test_markdown_is_left_as_its_author_wrote_it() -> None:
    markdown = "# T\n\n* a_b\n\n| x |\n|---|\n| 1 |\n"
    assert decode(markdown.replace("\n", "\r\n").encode()) == markdown


@pytest.mark.parametrize("data", [b"\x00\x01\x02\x03" * 100, b"text\x00more"])
def test_binary_data_with_a_text_suffix_is_refused(data: bytes) -> None:
    with pytest.raises(errors.CorruptDocument):
        decode(data)


def test_pages_are_found_where_their_letters_are() -> None:
    pages = ["First page, about tides.\n", "Second page: 12 bicycles.", "Third page."]
    markdown = "# First page, about tides.\n\n**Second page:** 12 bicycles.\n\nThird page."
    spans = locate_pages(markdown, pages)
    assert [span.page_idx for span in spans] == [0, 1, 2]
    assert "tides" in markdown[spans[0].start : spans[0].end]
    assert "bicycles" in markdown[spans[1].start : spans[1].end]
    assert markdown[spans[2].start : spans[2].end].strip() == "Third page."
    assert spans[0].start == 0
    assert spans[-1].end == len(markdown)


def test_a_blank_page_takes_no_text() -> None:
    spans = locate_pages("one two", ["one", "", "two"])
    assert [(s.start, s.end) for s in spans][1] == (spans[1].start, spans[1].start)


def test_a_document_without_page_texts_has_no_pages() -> None:
    assert locate_pages("text", []) == ()
    assert locate_pages("text", ["", " "]) == ()
