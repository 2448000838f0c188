"""The built-in model's answers: sentences with the place where they stand, and what this is; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aperag_agent.languages import phrases
from aperag_agent.local.sentences import choose
from aperag_retrieval.analysis import KANA
from aperag_retrieval.scripts import Script, script_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aperag_agent.tools.findings import Passage

_KANA = re.compile(f"[{KANA}]")
_GREETING = re.compile(
    r"\s*(?:hi|hello|hey|good (?:morning|evening|day)|안녕(?:하세요|하십니까)?|你好|您好|こんにちは|おはよう(?:ございます)?)[\s!！.。~?]*",
    re.IGNORECASE,
)
FIRST_CHARACTERS = 300


def language_of(question: str, default: str) -> str:
    """Of the script of the question; ``default`` where it is one of the Latin ones, which it does not tell apart."""
    if _KANA.search(question):
        return "ja-JP"
    return {Script.HANGUL: "ko-KR", Script.HAN: "zh-CN"}.get(script_of(question) or Script.LATIN, default)


def is_greeting(question: str) -> bool:
    return _GREETING.fullmatch(question) is not None


def answer(
    question: str,
    language: str,
    passages: Sequence[Passage],
    terms: Callable[[str], Iterable[str]],
    *,
    searched: bool,
) -> str:
    """``searched``: there was a collection to look into."""
    say = phrases(language)
    if not searched:
        return say.no_collection
    chosen = choose(question, passages, terms)
    if not chosen and passages:
        # A question in another language than the documents shares no word with them: meaning has found these.
        chosen_lines = [f"- {_begin(it.text)} [{it.number}]" for it in passages[:2]]
    elif chosen:
        chosen_lines = [f"- {it.text} [{it.passage.number}]" for it in chosen]
    else:
        return say.nothing(question[:200])
    used = {int(line.rpartition("[")[2].rstrip("]")) for line in chosen_lines}
    sources = [f"[{it.number}] {it.source}" for it in passages if it.number in used and it.source]
    return "\n".join([say.from_, "", *chosen_lines, "", *sources, "", f"_{say.extractive}_"])


def _begin(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= FIRST_CHARACTERS else line[: FIRST_CHARACTERS - 1] + "…"
