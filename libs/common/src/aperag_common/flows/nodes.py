"""The types of nodes: what each takes and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_RESULTS = 100
MOST_PASSAGES = 1000


class Kind(StrEnum):
    """Of an input or an output: TEXT is any plain value."""

    TEXT = "text"
    PASSAGES = "passages"


class Passage(BaseModel):
    """What a search found; ``score`` is None where what found it gives none."""

    model_config = ConfigDict(extra="ignore")

    text: str
    score: float | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


Passages = list[Passage]


class _Inputs(BaseModel):
    """A client's further values are for itself."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class StartInputs(_Inputs):
    query: str | None = None


class SearchInputs(_Inputs):
    """``query``: the question where there is none; ``collection_ids``: the bot's where there are none.

    ``similarity_threshold`` holds for searches by meaning, ``keywords`` for those by words.
    """

    query: str | None = None
    collection_ids: list[str] = Field(default_factory=list, max_length=100)
    top_k: int = Field(5, ge=1, le=MOST_RESULTS)
    similarity_threshold: float = Field(0.2, ge=0, le=1)
    keywords: list[str] = Field(default_factory=list, max_length=100)


class MergeInputs(_Inputs):
    merge_strategy: Literal["union"] = "union"
    deduplicate: bool = True
    vector_search_docs: Passages = Field(default_factory=list, max_length=MOST_PASSAGES)
    fulltext_search_docs: Passages = Field(default_factory=list, max_length=MOST_PASSAGES)
    keyword_search_docs: Passages = Field(default_factory=list, max_length=MOST_PASSAGES)
    graph_search_docs: Passages = Field(default_factory=list, max_length=MOST_PASSAGES)
    summary_search_docs: Passages = Field(default_factory=list, max_length=MOST_PASSAGES)
    vision_search_docs: Passages = Field(default_factory=list, max_length=MOST_PASSAGES)


class RerankInputs(_Inputs):
    """Without a model the installation's; where there is none either, the passages stay as they are."""

    model: str = ""
    model_service_provider: str = ""
    docs: Passages = Field(default_factory=list, max_length=MOST_PASSAGES)
    top_n: int | None = Field(None, ge=1, le=MOST_PASSAGES)


class LlmInputs(_Inputs):
    """``{query}`` and ``{context}`` in ``prompt_template`` stand for the question and the passages.

    Without a model the installation's; without a template a built-in one.
    """

    model_service_provider: str = ""
    model_name: str = ""
    prompt_template: str = ""
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    docs: Passages = Field(default_factory=list, max_length=MOST_PASSAGES)


@dataclass(frozen=True, slots=True)
class NodeType:
    inputs: type[_Inputs]
    outputs: Mapping[str, Kind]

    def kind_of(self, field: str) -> Kind | None:
        """Of an input; None for what the type does not take."""
        found = self.inputs.model_fields.get(field)
        if found is None:
            return None
        return Kind.PASSAGES if found.annotation == Passages else Kind.TEXT


START, MERGE, RERANK, LLM = "start", "merge", "rerank", "llm"
_FOUND = MappingProxyType({"docs": Kind.PASSAGES})
SEARCHES = ("vector_search", "fulltext_search", "graph_search", "summary_search", "vision_search")
"""As the search route calls them: which of them there is a worker for is found out by searching."""

NODE_TYPES: Mapping[str, NodeType] = MappingProxyType(
    {
        START: NodeType(StartInputs, MappingProxyType({"query": Kind.TEXT})),
        **{name: NodeType(SearchInputs, _FOUND) for name in SEARCHES},
        MERGE: NodeType(MergeInputs, _FOUND),
        RERANK: NodeType(RerankInputs, _FOUND),
        LLM: NodeType(LlmInputs, MappingProxyType({"text": Kind.TEXT})),
    }
)


def nothing_of(type_: str) -> dict[str, Any]:
    """What a node of this type gives that found nothing."""
    return {name: [] if kind is Kind.PASSAGES else "" for name, kind in NODE_TYPES[type_].outputs.items()}
