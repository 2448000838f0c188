"""What the built-in model answers: sentences of the documents, with their place, in the question's language."""

from __future__ import annotations

import pytest

from aperag_agent.languages import phrases
from aperag_agent.local.answers import answer, is_greeting, language_of
from aperag_agent.local.sentences import choose
from aperag_agent.tools.findings import Passage
from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for

TERMS = analyzer_for(DEFAULT_ANALYZER).terms

ENGLISH = (
    "# Green tea\n\nGreen tea is heated soon after picking. It should be brewed\nat 70 to 80 degrees. Boiling water makes it bitter.\n\n"
    "# Black tea\n\n- It is brewed with boiling water.\n- Add **milk** to [taste](https://example.org)."
)
KOREAN = "# 녹차\n\n녹차는 잎을 딴 뒤 바로 열을 가한다. 70도에서\n80도의 물로 우린다. 끓는 물은 쓴맛을 낸다."
CHINESE = "# 绿茶\n\n绿茶采摘后立即加热。应以70到\n80度的水冲泡。用沸水会使茶变苦。"
JAPANESE = "# 緑茶\n\n緑茶は70度から80度のお湯で淹れます。沸騰したお湯は苦味を出します。"


def passage(text: str, number: int = 1, source: str = "tea.md", **metadata: object) -> Passage:
    return Passage(number, text, 1.0, source, metadata)


def chosen(question: str, *texts: str) -> list[str]:
    return [it.text for it in choose(question, [passage(text, at + 1) for at, text in enumerate(texts)], TERMS)]


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        ("How many degrees for brewed green tea?", ENGLISH, "It should be brewed at 70 to 80 degrees."),
        ("녹차는 몇 도의 물로 우리나요?", KOREAN, "70도에서 80도의 물로 우린다."),
        ("绿茶用多少度的水冲泡？", CHINESE, "应以70到80度的水冲泡。"),
        ("緑茶は何度のお湯で淹れますか", JAPANESE, "緑茶は70度から80度のお湯で淹れます。"),
    ],
)
def test_the_sentence_that_answers_is_among_those_chosen(question: str, text: str, expected: str) -> None:
    assert expected in "\n".join(chosen(question, text))


def test_a_sentence_is_found_by_the_heading_above_it_and_shown_with_it() -> None:
    [found, *_] = chosen("boiling water for black tea", ENGLISH)
    assert found.startswith("Black tea: It is brewed with boiling water.")


def test_the_heading_of_a_passage_that_does_not_hold_it_counts_too() -> None:
    found = choose(
        "milk in black tea", [passage("Some add milk. Nobody knows why.", titles=["Drinks", "Black tea"])], TERMS
    )
    assert [it.text for it in found] == ["Black tea: Some add milk."]


def test_markup_is_left_out_and_sentences_that_were_left_out_between_are_marked() -> None:
    [found, *_] = chosen("add milk to taste", ENGLISH)
    assert "Add milk to taste." in found
    [gap] = chosen(
        "oxidation bitter", "Oxidation is stopped early. Nothing else matters here. Steeping long makes it bitter."
    )
    assert gap == "Oxidation is stopped early. … Steeping long makes it bitter."


def test_what_shares_no_word_with_the_question_is_not_chosen() -> None:
    assert chosen("volcanoes of Iceland", ENGLISH, KOREAN) == []
    assert choose("tea", [], TERMS) == []


def test_the_same_sentence_of_two_documents_is_said_once() -> None:
    assert chosen("bitter boiling", "Boiling water makes it bitter.", "Boiling water makes it bitter.") == [
        "Boiling water makes it bitter."
    ]


def test_a_sentence_without_end_is_cut() -> None:
    [found] = chosen("tea", "tea " * 10_000)
    assert len(found) == 600


@pytest.mark.parametrize("text", ["", "\n\n", "# \n", "##", "- \n- ", "…", "a", "\x00", "。" * 50])
def test_strange_passages_are_endured(text: str) -> None:
    chosen("tea a", text)


@pytest.mark.parametrize(
    ("question", "default", "language"),
    [
        ("녹차는?", "en-US", "ko-KR"),
        ("绿茶？", "en-US", "zh-CN"),
        ("緑茶は？", "en-US", "ja-JP"),
        ("Tee?", "de-DE", "de-DE"),
        ("", "zh-CN", "zh-CN"),
        ("???", "en-US", "en-US"),
    ],
)
def test_the_answer_is_in_the_questions_language(question: str, default: str, language: str) -> None:
    assert language_of(question, default) == language


@pytest.mark.parametrize("question", ["hello", "Hi!", "안녕하세요", "你好！", "こんにちは。"])
def test_greetings_are_known(question: str) -> None:
    assert is_greeting(question)


@pytest.mark.parametrize("question", ["hello world in Python?", "high water", "안녕 녹차", ""])
def test_questions_are_no_greetings(question: str) -> None:
    assert not is_greeting(question)


def test_an_answer_cites_its_sources_and_says_what_it_is() -> None:
    said = answer(
        "brewed at how many degrees", "en-US", [passage("Nothing."), passage(ENGLISH, 2, "b.md")], TERMS, searched=True
    )
    lines = said.splitlines()
    assert lines[0] == "This is what the documents say:"
    assert "It should be brewed at 70 to 80 degrees." in lines[2]
    assert lines[2].endswith("[2]")
    assert "[2] b.md" in lines
    assert "[1]" not in said
    assert lines[-1] == f"_{phrases('en').extractive}_"


def test_passages_that_meaning_found_are_shown_where_no_word_is_shared() -> None:
    said = answer("How is green tea brewed?", "en-US", [passage(KOREAN, source="녹차.md")], TERMS, searched=True)
    assert "녹차는 잎을 딴 뒤" in said
    assert "[1] 녹차.md" in said


@pytest.mark.parametrize("language", ["en-US", "ko-KR", "zh-CN", "ja-JP", "fr-FR"])
def test_nothing_found_and_nothing_there_are_different_answers(language: str) -> None:
    nothing, nowhere = (answer("tea", language, [], TERMS, searched=searched) for searched in (True, False))
    assert "tea" in nothing
    assert nowhere == phrases(language).no_collection
    assert nothing != nowhere
