"""What each type of node does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.usage import UsageLimits

from aperag_agent.completions.asking import Asking, ask
from aperag_agent.failures import silent
from aperag_agent.flows.prompts import prompt
from aperag_agent.gateway.searches import Found
from aperag_agent.local.model import extractive
from aperag_agent.publishing import sound
from aperag_agent.tools.findings import Findings
from aperag_common import errors
from aperag_common.flows.nodes import LLM, MERGE, RERANK, SEARCHES, START
from aperag_models.refs import ModelRef, Scenario

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.usage import RunUsage

    from aperag_agent.completions.resolve import Completions
    from aperag_agent.gateway.searches import Searches
    from aperag_agent.publishing import EventPublisher
    from aperag_agent.settings import LimitSettings
    from aperag_agent.tools.framing import Framing
    from aperag_agent.turns.repository import TurnRow
    from aperag_common.flows.nodes import LlmInputs, MergeInputs, Passage, RerankInputs, SearchInputs

Given = tuple[dict[str, Any], dict[str, Any]]
"""Outputs, and what else is worth publisher."""

OF_CHATS = frozenset({"vector_search", "fulltext_search"})
QUERY_CHARACTERS = 10_000
BY_MEANING = frozenset({"vector_search", "summary_search", "vision_search"})


@dataclass(slots=True)
class Runners:
    """Of one run. ``publisher`` publishes the answer; ``searching``: the flow has a search of its own."""

    turn: TurnRow
    searches: Searches
    completions: Completions
    limits: LimitSettings
    publisher: EventPublisher
    findings: Findings
    framing: Framing
    usage: RunUsage
    history: Sequence[ModelMessage]
    searching: bool

    @property
    def written(self) -> int:
        """Characters of the answer that were published."""
        return self.publisher.written

    async def run(self, type_: str, inputs: Any, *, answers: bool) -> Given:
        """Raises ``TurnFailed`` and ``ApeRAGError``."""
        if type_ == START:
            return {"query": inputs.query or self.turn.question}, {}
        if type_ in SEARCHES:
            return await self._search(type_, inputs)
        if type_ == MERGE:
            return {"docs": _merged(inputs)}, {}
        if type_ == RERANK:
            return await self._rerank(inputs)
        if type_ == LLM:
            return await self._llm(inputs, answers=answers)
        raise AssertionError(f"no node is of the type {type_}")

    async def _search(self, type_: str, inputs: SearchInputs) -> Given:
        leg: dict[str, Any] = {"topk": inputs.top_k}
        if type_ in BY_MEANING:
            leg["similarity"] = inputs.similarity_threshold
        if type_ == "fulltext_search" and inputs.keywords:
            leg["keywords"] = inputs.keywords
        body = {"query": self._query(inputs.query), type_: leg}
        asked = list(dict.fromkeys(inputs.collection_ids or self.turn.request.get("collections") or ()))
        searches = [self.searches.collection(it, body) for it in asked]
        if type_ in OF_CHATS and self.turn.request.get("chat_files"):
            searches.append(self.searches.chat(self.turn.chat_id, body))
        found = await together(searches)
        problems = {name: why for it in found for name, why in it.errors.items()}
        if type_ in OF_CHATS and type_ in problems:
            # There is a worker for these: what fails now may work later, and nothing found would be no truth.
            raise errors.Retryable(problems[type_], code="SEARCH_FAILED")
        return {"docs": _best(found, inputs.top_k)}, {"errors": problems} if problems else {}

    def _query(self, given: str | None) -> str:
        """A search takes less than a question may have."""
        return ((given or "").strip() or self.turn.question)[:QUERY_CHARACTERS]

    async def _rerank(self, inputs: RerankInputs) -> Given:
        if not inputs.docs:
            return {"docs": []}, {}
        catalog = self.completions.catalog
        named = inputs.model and inputs.model_service_provider
        ref = ModelRef(inputs.model_service_provider, inputs.model) if named else await catalog.default(Scenario.RERANK)
        wanted = inputs.top_n or len(inputs.docs)
        if ref is None:
            return {"docs": inputs.docs[:wanted]}, {"reranked": False}
        texts = [it.text for it in inputs.docs]
        ranked = await catalog.rerank(self.turn.owner, str(ref), self.turn.question, texts, wanted)
        return {"docs": [inputs.docs[it.index].model_copy(update={"score": it.score}) for it in ranked]}, {}

    async def _llm(self, inputs: LlmInputs, *, answers: bool) -> Given:
        passages = await self._material(inputs)
        findings = self.findings if answers else Findings(self.findings.language)
        findings.add_passages(_within(passages, self.limits.passages))
        asked = {
            "provider": inputs.model_service_provider,
            "model": inputs.model_name,
            "temperature": inputs.temperature,
            "max_tokens": inputs.max_tokens,
        }
        request = {**self.turn.request, "query": self.turn.question, "collections": ["given"]}
        chosen = await self.completions.of(
            self.turn.owner, asked, lambda: extractive(request, findings, self.turn.chat_id)
        )
        asking = Asking(
            prompt(inputs.prompt_template, self.turn.question, findings.passages, self.framing),
            [str(self.turn.request.get("system_prompt") or ""), self.framing.rule],
            self.history,
        )
        limits = UsageLimits(request_limit=self.limits.steps, total_tokens_limit=self.limits.tokens)
        text = _Text()

        async def sink(event: Any) -> None:
            text.event(event)
            if answers:
                await self.publisher.event(event)

        await ask(chosen, asking, self.usage, limits, sink)
        if not text.pieces:
            raise silent()
        return {"text": "".join(text.pieces)}, {"model": chosen.name}

    async def _material(self, inputs: LlmInputs) -> Sequence[Passage]:
        """What it was given; in a flow that searches nothing, what stands in the chat's files."""
        if inputs.docs or self.searching or not self.turn.request.get("chat_files"):
            return inputs.docs
        legs = {"vector_search": {"topk": 5, "similarity": 0.2}, "fulltext_search": {"topk": 5}}
        found = await self.searches.chat(self.turn.chat_id, {"query": self._query(None), **legs})
        return list(found.passages)


@dataclass(slots=True)
class _Text:
    pieces: list[str] = field(default_factory=list)

    def event(self, event: Any) -> None:
        match event:
            case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                self.pieces += [sound(text)] if text else []
            case _:
                pass


async def together(searches: Sequence[Coroutine[Any, Any, Found]]) -> list[Found]:
    """Side by side; the first failure ends the others."""
    tasks = [asyncio.create_task(it) for it in searches]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _merged(inputs: MergeInputs) -> list[Passage]:
    """In turn from each list, the best first: scores of different searches cannot be compared."""
    lists = [value for name in type(inputs).model_fields if isinstance(value := getattr(inputs, name), list)]
    depth = max(map(len, lists), default=0)
    mixed = [found[place] for place in range(depth) for found in lists if place < len(found)]
    if not inputs.deduplicate:
        return mixed
    first: dict[str, Passage] = {}
    for passage in mixed:
        first.setdefault(passage.text, passage)
    return list(first.values())


def _best(found: Sequence[Found], top_k: int) -> list[Passage]:
    every = [passage for it in found for passage in it.passages]
    return sorted(every, key=lambda it: -(it.score if it.score is not None else 0.0))[:top_k]


def _within(passages: Iterable[Passage], characters: int) -> list[Passage]:
    """As many as fit, the first of them in any case, if only its beginning."""
    chosen: list[Passage] = []
    left = characters
    for passage in passages:
        if len(passage.text) > left:
            if not chosen:
                chosen.append(passage.model_copy(update={"text": passage.text[:left]}))
            break
        chosen.append(passage)
        left -= len(passage.text)
    return chosen
