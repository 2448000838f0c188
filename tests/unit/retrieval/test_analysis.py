"""Terms are the same for index and query, in every script."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from aperag_common import errors
from aperag_common.db.models.chunk_term import TERM_SPACE
from aperag_retrieval.analysis import DEFAULT_ANALYZER, KIWI_ANALYZER, KiwiAnalyzer, analyzer_for, term_id


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("The walking of the dogs", ["walk", "dog"]),
        ("Newton's laws, Newton\u2019s laws", ["newton", "law", "newton", "law"]),
        ("ＡＢＣ ﬁne", ["abc", "fine"]),
        ("user_name 3.14", ["user", "name", "3", "14"]),
        ("Überraschung école", ["überraschung", "école"]),
        ("潮汐表", ["潮汐", "汐表"]),
        ("茶", ["茶"]),
        ("ひらがな", ["ひら", "らが", "がな"]),
        ("한국어 검색", ["한국", "국어", "검색"]),
        ("GPU는 빠르다", ["gpu", "는", "빠르", "르다"]),
        ("GPU加速", ["gpu", "加速"]),
        ("สวัสดี", ["สว", "วั", "ัส", "สด", "ดี"]),
    ],
)
def test_each_script_becomes_its_terms(text: str, terms: list[str]) -> None:
    assert analyzer_for(DEFAULT_ANALYZER).terms(text) == terms


def test_composed_and_decomposed_text_have_the_same_terms() -> None:
    analyzer = analyzer_for(DEFAULT_ANALYZER)
    assert analyzer.terms("\u1112\u1161\u11ab\u1100\u116e\u11a8") == analyzer.terms("한국") == ["한국"]


def test_an_unknown_analyzer_is_refused_for_good() -> None:
    with pytest.raises(errors.Terminal) as raised:
        analyzer_for("standard/0")
    assert raised.value.error_code == "UNKNOWN_ANALYZER"


def test_kiwi_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(errors.Terminal, match="korean") as raised:
        analyzer_for(KIWI_ANALYZER)
    assert raised.value.error_code == "ANALYZER_NOT_INSTALLED"


def test_kiwi_gets_whole_phrases_and_replaces_bigrams_by_content_morphemes() -> None:
    phrases: list[str] = []

    def tokenize(phrase: str) -> list[SimpleNamespace]:
        phrases.append(phrase)
        return [SimpleNamespace(form="한국", tag="NNP"), SimpleNamespace(form="는", tag="JX")]

    assert KiwiAnalyzer(tokenize).terms("Tides 한국는 멀다 潮汐") == ["tide", "潮汐", "한국"]
    assert phrases == ["한국는 멀다"]


def test_term_ids_never_change_and_lie_in_the_term_space() -> None:
    assert [term_id(term) for term in ("tide", "潮汐", "한국")] == [395217638, 163790790, 377140115]
    assert all(0 <= term_id(str(number)) < TERM_SPACE for number in range(1000))
