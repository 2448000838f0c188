"""Hits as people read them: where they stand, and the words that were found."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from aperag_cli.commands.search import hits

CONTENT = "Filler. " * 50 + "Oil is changed every\n1800 hours. " + "More. " * 50


def item(**metadata: Any) -> dict[str, Any]:
    return {
        "rank": 1,
        "score": 0.5,
        "content": CONTENT,
        "source": "manual-900.pdf",
        "recall_type": "fulltext_search",
        "metadata": metadata,
    }


def cells(made: dict[str, Any]) -> list[Text]:
    return [next(iter(column.cells)) for column in hits([made]).columns]  # type: ignore[misc]


def test_the_window_shows_what_matched_in_bold() -> None:
    at = CONTENT.index("Oil")
    hours = CONTENT.index("1800")
    marks = [[at, at + 3], [hours, hours + 4], [0, 6]]
    text = cells(item(snippet={"start": at, "end": at + 100, "marks": marks}))[4]
    assert text.plain.startswith("… Oil is changed every 1800 hours. More.")
    assert text.plain.endswith(" …")
    bold = [text.plain[span.start : span.end] for span in text.spans if span.style == "bold" and span.end > span.start]
    assert bold == ["Oil", "1800"]


def test_a_hit_says_where_it_stands() -> None:
    assert cells(item(page_idx=6, titles=["Maintenance", "Oil"]))[2].plain == "manual-900.pdf\npage 7\nMaintenance\nOil"


def test_an_older_gateways_hit_shows_its_beginning() -> None:
    assert cells(item())[4].plain == CONTENT[:300].replace("\n", " ") + " …"
