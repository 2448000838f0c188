"""Printed pages and web pages keep what a reader needs and lose what only a screen or a printer does."""

from __future__ import annotations

from typing import Any

import pytest

from aperag_indexer.reading.layout import pages_of, unwrap
from aperag_indexer.reading.web import tidy, tidy_page, without_head


def node(kind: str, text: str = "", page: int | None = 1, **content: Any) -> dict[str, Any]:
    return {"content": {"node_type": kind, "text": text, **content}, **({"page": page} if page else {})}


def test_wrapped_prose_is_one_line_and_a_broken_word_is_whole() -> None:
    lines = [
        "The moon pulls the sea and the sea follows in two bulges that trav-",
        "el around the world each day, which sailors have known since antiq\x02uity,",
        "and Wilhelm Whewell drew the first maps of equal tides in the nineteenth",
        "century.",
    ]
    assert unwrap("\n".join(lines)) == (
        "The moon pulls the sea and the sea follows in two bulges that travel around the world each day, which sailors "
        "have known since antiquity, and Wilhelm Whewell drew the first maps of equal tides in the nineteenth century."
    )


def test_rows_stay_rows() -> None:
    rows = "Product Code Category Unit Cost Total Value Last Audit\nSKU-8847 Electronics $45.00 $13,005.00 2024-10-15"
    assert unwrap(rows) == rows


def test_chinese_lines_are_joined_without_a_space() -> None:
    line = "月亮牵引着海水，海水随之涨落，水手们自古以来就知道这一点，并且在航行之前总要先看一看潮汐的时间表以免搁浅"
    assert " " not in unwrap(f"{line}\n{line}\n{line}")


def test_blocks_stand_on_their_pages() -> None:
    grid = {
        "rows": 2,
        "cols": 2,
        "cells": [{"row": r, "col": c, "content": f"{r}|{c}"} for r in (0, 1) for c in (0, 1)],
    }
    nodes = [
        node("heading", "Tides", level=2),
        node("paragraph", "The moon."),
        node("page_break", page=None),
        node("table", page=None, grid=grid),
        node("list_item", "A point", page=3),
    ]
    assert pages_of(nodes, [2], {}) == {
        1: "## Tides\n\nThe moon.",
        2: "| 0\\|0 | 0\\|1 |\n| --- | --- |\n| 1\\|0 | 1\\|1 |",
        3: "- A point",
    }


@pytest.mark.parametrize("text", ["Hours Rate Cost\n2,100 150 300 2024 11", "Name: A\nPlace: B\nDate: C", "word " * 40])
def test_large_print_that_is_no_title_is_text(text: str) -> None:
    assert not pages_of([node("heading", text, level=1)], [], {})[1].startswith("#")


def test_a_page_whose_blocks_lost_text_is_given_as_it_was_printed() -> None:
    assert pages_of([node("paragraph", "One")], [], {1: "One\r\nTwo and three and four"}) == {
        1: "One\nTwo and three and four"
    }


def test_the_head_of_a_page_is_no_text_but_names_it() -> None:
    html = "<html><head><title>A\n page</title><meta name=x></head><body>text</body></html>"
    assert without_head(html) == ("<html><body>text</body></html>", "A page")


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("![a wheel](data:image/png;base64,AAAA)", "a wheel"),
        ("![SVG Image](data:image/svg+xml;base64,AAAA) on", " on"),
        ('[docs](https://example.org/a_(b) "Docs")', "[docs](https://example.org/a_(b))"),
        ("see [docs](/relative/path) and [top](#top)", "see docs and top"),
        ("[x](javascript:void(0);)", "x"),
        (f"[far](https://example.org/{'a' * 200})", "far"),
        ("Store \\#0342 is open\\!", "Store #0342 is open!"),
        ("\\# no heading", "\\# no heading"),
        ("a\n\n\n\n- \n\n\nb", "a\n\nb"),
    ],
)
def test_links_and_pictures_are_words(markdown: str, text: str) -> None:
    assert tidy(markdown) == text


def test_the_furniture_of_a_page_is_gone() -> None:
    menu = "".join(f'- [Entry {n}](https://example.org/{n} "Entry")\n' for n in range(15))
    page = f"---\nmeta-a: b\n\n## title: T\n[Skip](#main)\n\n{menu}\n# Wheels\n\nRound.[[2]](#cite-2)\n\n|  a  |   |\n|-----|---|\n"
    text = tidy_page(page)
    assert text.startswith("Entry 0 · Entry 1 · ")
    assert text.endswith("# Wheels\n\nRound.\n\n| a | |\n|---|---|")
