"""Which part of a passage is shown, and what in it is marked."""

from __future__ import annotations

import pytest

from aperag_console.searches.snippets import plain, window_of, words_of
from aperag_console.web.markup import marked


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("How are vendors killed?", ["vendor", "kill"]),
        ("the and of", []),
        ("반품 기한", ["반품", "기한"]),
        ("退货期限", ["退货", "货期", "期限"]),
        ("ＡＢＣ works", ["abc", "work"]),
    ],
)
def test_the_words_of_a_question_that_are_worth_marking(query: str, words: list[str]) -> None:
    assert words_of(query) == words


def test_the_stretch_with_most_of_the_words_is_shown_and_nothing_is_lost() -> None:
    text = "alpha " * 100 + "the retention of contracts is seven years " + "omega " * 100
    before, shown, after = window_of(text, words_of("retention contracts"))
    assert "retention of contracts" in shown
    assert before + shown + after == text
    assert window_of("short", ["x"]) == ("", "short", "")


def test_words_are_marked_where_they_begin_and_the_rest_is_escaped() -> None:
    assert marked("<b>Killed</b> skill", ["kill"]) == "&lt;b&gt;<mark>Killed</mark>&lt;/b&gt; skill"
    assert marked("환불은 반품 후", ["반품"]) == "환불은 <mark>반품</mark> 후"
    assert marked("a < b", []) == "a &lt; b"


def test_the_signs_of_markdown_are_not_shown() -> None:
    assert plain("## Tea\n| a | `b` |\n|---|:--|\n**bold** [guide](x.md)") == "Tea\na · b\nbold guide"
