"""Terms are the same for index and query, in every script."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from aperag_common import errors
from aperag_common.db.models.chunk_term import TERM_SPACE
from aperag_retrieval.analysis import (
    DEFAULT_ANALYZER,
    FIRST_ANALYZER,
    KIWI_ANALYZER,
    KiwiAnalyzer,
    StandardAnalyzer,
    analyzer_for,
    term_id,
)
from aperag_retrieval.lexical import weigh


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
    assert analyzer_for(FIRST_ANALYZER).terms(text) == terms
    assert analyzer_for(DEFAULT_ANALYZER).terms(text)[: len(terms)] == terms


FOUND = [
    ("Serial SN778817.", ["SN 778817", "778817", "sn778817", "SN-778817"]),
    ("The fan AB-1217-XY replaces it.", ["AB1217XY", "ab 1217 xy", "AB_1217_XY", "AB-1217-XY"]),
    ("Norm ISO 9017:2015.", ["ISO9017", "ISO-9017", "iso 9017"]),
    ("Firmware v1.17.3 is needed.", ["1.17.3", "v1.17.3", "V 1.17.3"]),
    ("IP 10.0.17.1", ["10.0.17.1"]),
    ("MAC 00:1A:2B:3C:4D:11", ["00-1A-2B-3C-4D-11", "001A2B3C4D11"]),
    ("Tel +82-2-555-1017", ["8225551017", "82 2 555 1017"]),
    ("Price 17,170.50 EUR", ["17170.50", "17170", "17.170,50"]),
    ("Mail ops17@acme.example", ["ops17@acme.example", "ops17", "acme"]),
    ("Path /etc/app17/conf.d/main.yaml", ["/etc/app17/conf.d/main.yaml", "main.yaml", "conf.d"]),
    ("We support e-mail", ["email", "E-Mail", "e mail"]),
    ("We support email", ["e-mail"]),
    ("Use wi-fi", ["wifi"]),
    ("Set maxRetryCount", ["retry count", "maxretrycount", "max_retry_count", "RetryCount"]),
    ("call parse_html_response", ["parseHTMLResponse", "html response"]),
    ("Call getUserById17()", ["get user by id", "getUserById17"]),
    ("written in C++ and C#", ["c++", "C#"]),
    ("die Straße der Fußgänger", ["STRASSE", "strasse", "fussganger", "fussgänger"]),
    ("Frau Müller", ["Muller", "Mueller", "MÜLLER"]),
    ("l’équipe et l'utilisateur", ["equipe", "équipe", "utilisateur", "l'equipe"]),
    ("un café naïf", ["cafe", "naif"]),
    ("dell'acqua", ["acqua"]),
    ("İADE edebilir", ["iade", "İade", "IADE"]),
    ("ısparta ILINDEKI", ["ISPARTA", "isparta", "ilindeki"]),
    ("Łódź i Ørsted", ["lodz", "orsted", "oersted"]),
    ("Donau­dampf­schiff", ["Donaudampfschiff"]),
    ("کتاب‌خانه", ["کتابخانه"]),
    ("Die **Rück**gabe**frist** beträgt H~2~O super<sup>script</sup>", ["Rückgabefrist", "H2O", "superscript"]),
    ("O'Brien", ["OBrien", "o’brien"]),
    ("Книга ещё", ["книга", "еще", "ЕЩЁ"]),
    ("हिन्दी में", ["हिन्दी"]),
]


@pytest.mark.parametrize(("text", "queries"), FOUND)
def test_what_is_written_is_found_in_every_usual_spelling(text: str, queries: list[str]) -> None:
    analyzer = analyzer_for(DEFAULT_ANALYZER)
    known = set(analyzer.terms(text))
    assert [query for query in queries if not known & set(analyzer.terms(query))] == []


@pytest.mark.parametrize(
    ("text", "query"),
    [("It was 10⁶ years", "106"), ("version 1.17.3", "11.7.3"), ("2*3 apples", "23"), ("the AND a", "and")],
)
def test_other_things_are_not_found(text: str, query: str) -> None:
    analyzer = analyzer_for(DEFAULT_ANALYZER)
    assert not set(analyzer.terms(text)) & {term for term in analyzer.terms(query) if term not in {"1", "7", "3", "17"}}


def test_other_spellings_do_not_make_a_text_longer() -> None:
    found = analyzer_for(DEFAULT_ANALYZER)
    assert isinstance(found, StandardAnalyzer)
    assert found.analyse("maxRetryCount e-mail").words == ["maxretrycount", "e", "mail"]
    assert weigh(found, ["maxRetryCount e-mail"], 10.0)[0].length == 3


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
