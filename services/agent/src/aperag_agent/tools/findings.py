"""What the tools of a turn found: passages to cite, and a line for people per call; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_agent.languages import phrases
from aperag_common.flows import nodes as flows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_REFERENCES = 50
REFERENCE_CHARACTERS = 4_000
NAMES = 5
_FOUND_BY = ("type", "query", "collection_id", "chat_id")


@dataclass(frozen=True, slots=True)
class Passage:
    """``number`` is its place among all of the turn, from 1: what an answer cites as ``[number]``."""

    number: int
    text: str
    score: float | None
    source: str
    metadata: Mapping[str, Any]


@dataclass(slots=True)
class Findings:
    """Filled while the turn runs. A passage that several searches found is kept once."""

    language: str = "en-US"
    passages: list[Passage] = field(default_factory=list)
    collections: list[Mapping[str, Any]] = field(default_factory=list)
    web: list[Mapping[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def add(self, tool: str, arguments: Mapping[str, Any], result: Any) -> None:
        found = _object(result)
        if tool in {"search_collection", "search_chat_files"}:
            self._add_passages(found, {**arguments, "type": tool})
        elif tool == "list_collections":
            self.collections = [item for item in found.get("items", ()) if isinstance(item, dict)]
        elif tool in {"web_search", "web_read"}:
            place = {"type": tool, "query": arguments.get("query")}
            self.web += [{**item, **place} for item in found.get("results", ()) if isinstance(item, dict)]

    def add_passages(self, passages: Sequence[flows.Passage]) -> None:
        """What the searches of a flow found."""
        items = [{"content": it.text, "score": it.score, "metadata": it.metadata} for it in passages]
        self._add_passages({"items": items}, {})

    def references(self) -> list[dict[str, Any]]:
        """In the contract's shape, each with the tool (``type``) and the ``query`` that found it; the web's come last."""
        cited = [
            {"text": it.text[:REFERENCE_CHARACTERS], "score": it.score, "metadata": dict(it.metadata)}
            for it in self.passages
        ]
        for page in self.web:
            text = str(page.get("content") or page.get("snippet") or "")[:REFERENCE_CHARACTERS]
            metadata = {name: page.get(name) for name in ("type", "query", "url", "title")}
            if text:
                cited.append({"text": text, "score": None, "metadata": metadata})
        return cited[:MOST_REFERENCES]

    def title(self, tool: str) -> str:
        return phrases(self.language).title(tool)

    def describe(self, tool: str, arguments: Mapping[str, Any], result: Any) -> str:
        """What a person reads of a call, in one line."""
        say, found = phrases(self.language), _object(result)
        if tool == "list_collections":
            titles = [str(item.get("title", "")) for item in found.get("items", ())]
            return say.listed(len(titles), _names(titles))
        if tool in {"search_collection", "search_chat_files"}:
            items = found.get("items", ())
            sources = dict.fromkeys(str(item.get("source") or "") for item in items)
            return say.searched(str(arguments.get("query", ""))[:200], len(items), _names([it for it in sources if it]))
        if tool == "web_search":
            results = found.get("results", ())
            return say.searched_web(str(arguments.get("query", ""))[:200], len(results))
        if tool == "web_read":
            return say.read_web(len(found.get("results", ())))
        return say.used(tool)

    def _add_passages(self, found: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        for item in found.get("items", ()):
            text = str(item.get("content") or "").strip()
            if not text or text in self._seen:
                continue
            self._seen.add(text)
            metadata = {**(item.get("metadata") or {})}
            metadata |= {name: arguments[name] for name in _FOUND_BY if arguments.get(name)}
            source = str(item.get("source") or metadata.get("source") or metadata.get("name") or "")
            passage = Passage(len(self.passages) + 1, text, item.get("score"), source, {**metadata, "source": source})
            self.passages.append(passage)


def _object(result: Any) -> Mapping[str, Any]:
    """Of a tool's answer, which is JSON in one form or another."""
    if isinstance(result, str):
        try:
            result = json.loads(result)
        except ValueError:
            return {}
    return result if isinstance(result, dict) else {}


def _names(names: Sequence[str]) -> str:
    more = f" … (+{len(names) - NAMES})" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more
