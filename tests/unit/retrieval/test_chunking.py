"""Chunks hold all of the text, follow its structure and keep their size."""

from __future__ import annotations

import time

import pytest

from aperag_retrieval.chunking import ChunkDraft, ChunkPolicy, PageSpan, ParsedDocument, chunk_document, text_hash
from aperag_retrieval.markdown import count_tokens

SMALL = ChunkPolicy(size=40, overlap=5)


def tokens(text: str) -> int:
    return count_tokens(text, 0, len(text))


def texts(chunks: list[ChunkDraft]) -> list[str]:
    return [chunk.text for chunk in chunks]


@pytest.mark.parametrize("text", ["", " \n\t\n ", "\u3000"])
def test_blank_text_has_no_chunks(text: str) -> None:
    assert chunk_document(text) == []


def test_a_short_document_is_one_chunk() -> None:
    (chunk,) = chunk_document("\nTides are caused by the moon.\n")
    assert chunk.text == "Tides are caused by the moon."
    assert (chunk.ordinal, chunk.details) == (0, {"titles": [], "char_range": [1, 31]})
    assert chunk.text_hash == text_hash(chunk.text)
    assert len(chunk.text_hash) == 32


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("word " * 500, id="no sentence end"),
        pytest.param("汉" * 1000, id="wall of Han"),
        pytest.param("한" * 1000, id="wall of Hangul"),
        pytest.param("x" * 5000, id="one endless word"),
        pytest.param("One sentence. " * 300, id="sentences"),
        pytest.param("潮汐由月亮引起。" * 100, id="Chinese sentences"),
        pytest.param("| a | b |\n" * 300, id="rows"),
        pytest.param("```\n" + "x = 1\n" * 300 + "```\n", id="code"),
        pytest.param("# heading " + "long " * 500, id="endless heading"),
        pytest.param("." * 3000, id="signs"),
    ],
)
def test_no_chunk_is_larger_than_the_policy_and_none_is_lost(text: str) -> None:
    chunks = chunk_document(text, SMALL)
    assert max(tokens(chunk.text) for chunk in chunks) <= SMALL.size
    kept = "".join("".join(texts(chunk_document(text, ChunkPolicy(size=40, overlap=0)))).split())
    assert kept == "".join(text.split())
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))


def test_words_are_never_cut_where_there_are_spaces() -> None:
    words = {word for chunk in chunk_document("extraordinary tides " * 200, SMALL) for word in chunk.text.split()}
    assert words == {"extraordinary", "tides"}


def test_a_chunk_repeats_the_end_of_the_one_before_in_the_same_paragraph() -> None:
    first, second = texts(chunk_document(" ".join(f"w{number:03}" for number in range(60)), SMALL))[:2]
    assert second.split()[:5] == first.split()[-5:]


def test_chunks_do_not_straddle_top_headings_and_carry_their_path() -> None:
    text = "# Sea\n\nIntroduction.\n\n## Tides\n\nThe moon.\n\n### Neap\n\nWeak.\n\n## Waves\n\nThe wind.\n"
    chunks = chunk_document(text)
    assert texts(chunks) == [
        "# Sea\n\nIntroduction.",
        "## Tides\n\nThe moon.\n\n### Neap\n\nWeak.",
        "## Waves\n\nThe wind.",
    ]
    assert [chunk.details["titles"] for chunk in chunks] == [["Sea"], ["Sea", "Tides"], ["Sea", "Waves"]]


def test_a_heading_stays_with_its_text() -> None:
    text = "## One\n\n" + "word " * 30 + "\n\n## Two\n\n## Three\n\nbody\n"
    assert texts(chunk_document(text, SMALL))[-1] == "## Two\n\n## Three\n\nbody"


@pytest.mark.parametrize(
    ("line", "title"),
    [("# C#", "C#"), ("## Tides ##", "Tides"), ("#    Wide", "Wide"), ("   ### Deep", "Deep")],
)
def test_heading_titles_are_read_as_markdown_means_them(line: str, title: str) -> None:
    assert chunk_document(f"{line}\n\nbody")[0].details["titles"] == [title]


def test_underlined_lines_are_headings() -> None:
    text = "Guide\n=====\n\nIntro.\n\nLinux\n-----\n\nUse apt.\n\nWindows\n-------\n\nUse winget.\n"
    chunks = chunk_document(text)
    assert [chunk.details["titles"] for chunk in chunks] == [["Guide"], ["Guide", "Linux"], ["Guide", "Windows"]]


@pytest.mark.parametrize(
    "text", ["- item\n---\n", "one\ntwo\n---\nthree", "> quoted\n---\n", "\n---\n\ntext", "a\n- b\n"]
)
def test_a_rule_is_no_underline(text: str) -> None:
    assert [chunk.details["titles"] for chunk in chunk_document(text)] == [[]]


def test_a_table_without_outer_bars_is_cut_between_rows_and_repeats_its_header() -> None:
    header = "Name | Value | Note\n--- | :-: | ---\n"
    rows = [f"key{number} | value {number} | note" for number in range(40)]
    chunks = chunk_document("# Config\n\nAll keys:\n" + header + "\n".join(rows) + "\n\nafter a | b", SMALL)
    assert all(header in chunk.text for chunk in chunks if "key" in chunk.text)
    assert [line for chunk in chunks for line in chunk.text.splitlines() if line.startswith("key")] == rows
    assert max(tokens(chunk.text) for chunk in chunks) <= SMALL.size


def test_a_list_is_cut_between_its_items() -> None:
    items = [f"- step {number}. Do this, then that.\n  More of it." for number in range(20)]
    chunks = chunk_document("Intro.\n\n" + "\n".join(items), SMALL)
    assert [item for chunk in chunks for item in items if item in chunk.text] == items


def test_a_list_that_fits_is_never_cut() -> None:
    block = "\n".join(f"{number}. step {number}" for number in range(1, 9))
    assert any(block in chunk.text for chunk in chunk_document("word " * 25 + "\n\n" + block, SMALL))


def test_a_chunk_says_where_its_own_text_stands() -> None:
    text = "# Sea\n\n" + "One sentence. " * 60 + "\n\n| a | b |\n|---|---|\n" + "| row | x |\n" * 40
    chunks = chunk_document(text, SMALL)
    own = [text[slice(*chunk.details["char_range"])] for chunk in chunks]
    assert all(part.strip() in chunk.text for part, chunk in zip(own, chunks, strict=True))
    assert "".join("".join(own).split()) == "".join(text.split())


def test_signs_in_code_are_no_headings() -> None:
    (chunk,) = chunk_document("# Real\n\n```\n# comment\n```\n\n#hashtag\n")
    assert chunk.details["titles"] == ["Real"]


@pytest.mark.parametrize("block", ["| a | b |\n" * 5, "```py\n" + "x = 1\n" * 8 + "```"])
def test_a_table_or_code_that_fits_is_never_cut(block: str) -> None:
    text = "word " * 25 + "\n\n" + block + "\n\nafter"
    assert tokens(block) <= SMALL.size < tokens(text)
    assert any(block.strip() in chunk.text for chunk in chunk_document(text, SMALL))


def test_a_table_too_large_is_cut_between_rows() -> None:
    rows = [f"| row {number} | value |" for number in range(40)]
    kept = [line for chunk in chunk_document("\n".join(rows), SMALL) for line in chunk.text.splitlines()]
    assert kept == rows


def test_every_part_of_a_large_table_begins_with_its_header() -> None:
    header = "| port | range |\n| --- | --- |\n"
    rows = [f"| row {number} | value |" for number in range(40)]
    chunks = chunk_document("# Ranges\n\n" + header + "\n".join(rows) + "\n\nafter", SMALL)
    assert max(tokens(chunk.text) for chunk in chunks) <= SMALL.size
    assert all(header in chunk.text for chunk in chunks)
    assert [line for chunk in chunks for line in chunk.text.splitlines() if line.startswith("| row")] == rows
    assert {tuple(chunk.details["titles"]) for chunk in chunks} == {("Ranges",)}


def test_a_header_that_would_fill_the_chunks_is_not_repeated() -> None:
    header = "| " + "name " * 30 + "|\n| --- |\n"
    chunks = chunk_document(header + "| row |\n" * 40, SMALL)
    assert sum("name" in chunk.text for chunk in chunks) == 1
    assert max(tokens(chunk.text) for chunk in chunks) <= SMALL.size


def test_a_chunk_knows_the_page_its_own_text_starts_on() -> None:
    pages = ("word " * 50, "other " * 50)
    spans = (PageSpan(0, 0, len(pages[0])), PageSpan(4, len(pages[0]), len(pages[0]) + len(pages[1])))
    chunks = chunk_document(ParsedDocument("".join(pages), spans), SMALL)
    assert [chunk.details["page_idx"] for chunk in chunks] == [0, 0, 4]


def test_what_postgres_cannot_store_is_replaced() -> None:
    (chunk,) = chunk_document("a\x00b\ud800c")
    assert chunk.text == "a\ufffdb\ufffdc"


@pytest.mark.parametrize(
    "text",
    [
        "." * 1_000_000,
        "| a |\n|---|\n" + "| b |\n" * 200_000,
        "# " + " " * 1_000_000 + "x",
        "汉" * 300_000,
        "`" * 1_000_000,
    ],
)
def test_time_is_linear_in_hostile_text(text: str) -> None:
    started = time.process_time()
    chunk_document(text)
    assert time.process_time() - started < 5
