"""People see at once where their words stand."""

from __future__ import annotations

import pytest

from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for
from aperag_retrieval.snippets import WINDOW, snippet

ANALYZER = analyzer_for(DEFAULT_ANALYZER)


def marked(text: str, query: str) -> list[str]:
    found = snippet(ANALYZER, text, set(ANALYZER.terms(query)))
    return [text[start:end] for start, end in found.marks]


@pytest.mark.parametrize(
    ("text", "query", "marks"),
    [
        ("The moon pulls the tides.", "tide moon", ["moon", "tides"]),
        ("Call maxRetryCount now", "retry count", ["maxRetryCount"]),
        ("Serial SN778817.", "778817", ["SN778817"]),
        ("We support e-mail here", "email", ["e-mail"]),
        ("the AB-1217-XY fan", "AB1217XY", ["AB-1217-XY"]),
        ("l'équipe et le café", "equipe cafe", ["équipe", "café"]),
        ("반품은 7일 이내에 신청", "반품 신청", ["반품", "신청"]),
        ("潮汐由月亮引起", "月亮引", ["月亮引"]),
        ("Kunden geben Straße", "STRASSE", ["Straße"]),
        ("nothing here", "tides", []),
        ("", "tides", []),
    ],
)
def test_what_matched_is_marked(text: str, query: str, marks: list[str]) -> None:
    assert marked(text, query) == marks


def test_the_window_holds_the_match_and_begins_at_a_sentence() -> None:
    text = "Filler sentence about pumps. " * 60 + "Oil is changed every 1800 hours. " + "More filler follows. " * 60
    found = snippet(ANALYZER, text, set(ANALYZER.terms("oil 1800 hours")))
    window = text[found.start : found.end]
    assert "Oil is changed every 1800 hours" in window
    assert text[: found.start].endswith(". ")
    assert len(window) <= WINDOW


def test_without_a_match_the_window_is_the_beginning() -> None:
    found = snippet(ANALYZER, "word " * 200, {"absent"})
    assert (found.start, found.end, found.marks) == (0, WINDOW, ())
