"""The script of a question decides how much meaning counts against words."""

from __future__ import annotations

import pytest

from aperag_retrieval.scripts import Script, is_foreign, script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("What causes tides?", Script.LATIN),
        ("潮汐的原因", Script.HAN),
        ("潮の満ち引き", Script.HAN),
        ("밀물과 썰물", Script.HANGUL),
        ("SQL 인덱스는 왜 느린가요", Script.HANGUL),
        ("Причины приливов", Script.OTHER),
        ("1234 +-", None),
        ("", None),
    ],
)
def test_a_text_has_the_script_most_of_it_is_written_in(text: str, script: Script | None) -> None:
    assert script_of(text) is script


@pytest.mark.parametrize(
    ("script", "shares", "answer"),
    [
        (Script.HANGUL, {Script.LATIN: 1.0}, True),
        (Script.LATIN, {Script.LATIN: 1.0}, False),
        (Script.LATIN, {Script.LATIN: 0.3, Script.HANGUL: 0.7}, False),
        (Script.LATIN, {Script.LATIN: 0.1, Script.HANGUL: 0.9}, True),
        (None, {Script.LATIN: 1.0}, False),
        (Script.LATIN, {}, False),
    ],
)
def test_a_script_is_foreign_where_few_chunks_are_written_in_it(
    script: Script | None, shares: dict[Script, float], *, answer: bool
) -> None:
    assert is_foreign(script, shares) is answer
