"""The built-in model as any other: it asks for tools, then answers; the loop around it is the same."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import ModelRequest, ToolReturnPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from aperag_agent.languages import phrases
from aperag_agent.local.answers import answer, is_greeting, language_of
from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.function import AgentInfo, DeltaToolCalls

    from aperag_agent.tools.findings import Findings

NAME = "extractive"
MOST_COLLECTIONS = 5
TOPK = 6
SEARCH = "search_collection"
CHAT_FILES = "search_chat_files"

_WORDS = re.compile(r"\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Extractive:
    """Of one turn: ``findings`` are what its tools have found so far."""

    request: Mapping[str, Any]
    findings: Findings
    chat_id: str

    async def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        question = str(self.request["query"])
        language = language_of(question, str(self.request.get("language") or "en-US"))
        if is_greeting(question):
            said = phrases(language).greeting
        elif calls := self._calls(_tools_used(messages), {tool.name for tool in info.function_tools}, question):
            yield calls
            return
        else:
            terms = analyzer_for(DEFAULT_ANALYZER).terms
            searched = bool(
                self.request.get("collections")
                or self.findings.passages
                or any(_is_library(item) for item in self.findings.collections)
            )
            # Cutting and comparing passages takes a moment that other turns need not wait for.
            said = await asyncio.to_thread(answer, question, language, self.findings.passages, terms, searched=searched)
        for word in _WORDS.findall(said):
            yield word

    def _calls(self, used: Sequence[str], offered: set[str], question: str) -> DeltaToolCalls:
        """What to find out next: first which collections there are, unless they were named, then what they say.

        Where no search is offered, what there is to say was found before.
        """
        searches = [it for it in used if it.startswith("search_")]
        if searches or SEARCH not in offered:
            return {}
        named = list(self.request.get("collections") or ())
        if not named and "list_collections" not in used:
            return _numbered([("list_collections", {})], after=len(used))
        chosen = named or [str(item["id"]) for item in self.findings.collections if _is_library(item)]
        calls: list[tuple[str, dict[str, Any]]] = [
            (SEARCH, {"collection_id": it, "query": question, "topk": TOPK}) for it in chosen[:MOST_COLLECTIONS]
        ]
        if CHAT_FILES in offered:
            calls.append((CHAT_FILES, {"chat_id": self.chat_id, "query": question, "topk": TOPK}))
        return _numbered(calls, after=len(used))


def extractive(request: Mapping[str, Any], findings: Findings, chat_id: str) -> FunctionModel:
    return FunctionModel(stream_function=Extractive(request, findings, chat_id), model_name=NAME)


def _tools_used(messages: Iterable[ModelMessage]) -> list[str]:
    return [
        part.tool_name
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


def _is_library(collection: Mapping[str, Any]) -> bool:
    """Not the one that holds what was uploaded in chats: that is searched by chat."""
    return collection.get("status") == "ACTIVE" and collection.get("type") == "document"


def _numbered(calls: Sequence[tuple[str, dict[str, Any]]], *, after: int) -> DeltaToolCalls:
    """With ids that no earlier call of the turn has."""
    return {
        index: DeltaToolCall(
            name=name, json_args=json.dumps(arguments, ensure_ascii=False), tool_call_id=f"local-{after + index}"
        )
        for index, (name, arguments) in enumerate(calls)
    }
