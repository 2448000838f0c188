"""The sample documents: several formats, three languages, and a question for each language."""

from __future__ import annotations

import re

from aperag_cli.demo import samples

HAN = re.compile(r"[\u4e00-\u9fff]")
HANGUL = re.compile(r"[\uac00-\ud7a3]")


def test_several_formats_are_there() -> None:
    assert {path.suffix for path in samples.documents()} >= {".md", ".txt", ".html", ".docx", ".pdf"}


def test_every_question_expects_a_document_that_is_there() -> None:
    names = {path.name for path in samples.documents()}
    assert {question.expects for question in samples.QUESTIONS} <= names


def test_three_languages_are_asked_in_their_script() -> None:
    asked = {question.language: question.query for question in samples.QUESTIONS}
    assert set(asked) == {"English", "Korean", "Chinese"}
    assert asked["English"].isascii()
    assert HANGUL.search(asked["Korean"])
    assert HAN.search(asked["Chinese"])


def test_texts_are_valid_utf_8() -> None:
    for path in samples.documents():
        if path.suffix in {".md", ".txt", ".html"}:
            assert len(path.read_text(encoding="utf-8")) > 500
