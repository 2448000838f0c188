"""The documents that the demonstration brings along, and what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parent / "samples"


@dataclass(frozen=True, slots=True)
class Question:
    """``expects`` is the document that must be among the first hits."""

    language: str
    query: str
    expects: str
    code: str = "en-US"


QUESTIONS = (
    Question("English", "why does coffee taste bitter", "coffee-brewing.md"),
    Question("English", "what makes the sea rise and fall twice a day", "tides.txt"),
    Question("Korean", "김치가 익으면서 신맛이 나는 이유", "kimchi-ko.docx"),
    Question("Chinese", "绿茶和红茶的区别是什么", "tea-zh.html"),
    Question("English", "how long does a sourdough loaf bake", "sourdough-bread.pdf"),
)

ASKED = (
    Question("English", "Why does coffee taste bitter?", "coffee-brewing.md"),
    Question("Korean", "김치는 왜 익으면서 시어지나요?", "kimchi-ko.docx", "ko-KR"),
    Question("Chinese", "绿茶和红茶有什么区别？", "tea-zh.html", "zh-CN"),
)
"""Of the agent, whose answers must cite ``expects``."""


def documents() -> list[Path]:
    return sorted(path for path in DIRECTORY.iterdir() if path.is_file() and not path.name.startswith((".", "_")))
