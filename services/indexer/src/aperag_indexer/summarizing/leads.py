"""A summary made of the documents' own sentences: no model, nothing that the documents do not say; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_indexer.summarizing.sentences import clipped, lead
from aperag_retrieval.analysis import KANA
from aperag_retrieval.scripts import Script, script_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aperag_indexer.summarizing.ports import CollectionExcerpt, DocumentExcerpt

MOST_TOPICS = 5
LONGEST_TOPIC = 60
LONGEST_SUMMARY = 2000

_KANA = re.compile(f"[{KANA}]")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_SEPARATORS = re.compile(r"[_\s]+")
_NO_LETTERS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class _Words:
    """How one language introduces a summary."""

    between: str
    first_line: Callable[[int, str, bool], str]
    """Of the number of documents, the topics, and whether there are more of them."""


_ENGLISH = _Words(
    ", ",
    lambda count, topics, more: (
        f"{count} {'document' if count == 1 else 'documents'}, about: {topics}{' and more' if more else ''}."
    ),
)
_KOREAN = _Words(", ", lambda count, topics, more: f"문서 {count}개: {topics}{' 등' if more else ''}.")
_CHINESE = _Words("、", lambda count, topics, more: f"共 {count} 个文档，内容涉及：{topics}{'等' if more else ''}。")
_JAPANESE = _Words("、", lambda count, topics, more: f"文書 {count} 件：{topics}{'など' if more else ''}。")


class ExtractiveSummarizer:
    """A ``Summarizer``: one line on what is there, then the first meaningful sentence of each sampled document."""

    async def summarize(self, collection: CollectionExcerpt) -> str:
        return summary_of(collection)


def summary_of(collection: CollectionExcerpt) -> str:
    """In the language most of it is written in; empty for a collection without documents."""
    if not collection.sample:
        return ""
    topics = _distinct(_topic(document) for document in collection.sample)
    leads = _distinct(lead(document.texts) for document in collection.sample)
    words = _words_for(" ".join((*leads, *topics)))
    shown = topics[:MOST_TOPICS]
    more = collection.documents > len(collection.sample) or len(topics) > len(shown)
    lines = [words.first_line(collection.documents, words.between.join(shown), more)]
    if leads:
        lines.append("")
    for sentence in leads:
        if sum(map(len, lines)) + len(lines) + len(sentence) + 2 > LONGEST_SUMMARY:
            break
        lines.append(f"- {sentence}")
    return "\n".join(lines)


def _topic(document: DocumentExcerpt) -> str:
    """The document's outermost heading, else its name without what belongs to files."""
    named = _SEPARATORS.sub(" ", _EXTENSION.sub("", document.name.rpartition("/")[2])).strip()
    return clipped((document.titles[0].strip() if document.titles else "") or named or document.name, LONGEST_TOPIC)


def _distinct(texts: Iterable[str]) -> list[str]:
    """Those that are not empty, each once: letters count, their case and what is between them do not."""
    found: dict[str, str] = {}
    for text in texts:
        if text:
            found.setdefault(_NO_LETTERS.sub("", text).casefold() or text, text)
    return list(found.values())


def _words_for(text: str) -> _Words:
    script = script_of(text)
    if script is Script.HANGUL:
        return _KOREAN
    if script is Script.HAN:
        return _JAPANESE if _KANA.search(text) else _CHINESE
    return _ENGLISH
