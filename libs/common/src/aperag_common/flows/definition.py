"""A flow as clients write it (contract 1.7); what they add for their own use is kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MOST_NODES = 100
MOST_EDGES = 1000

NodeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
"""Of characters that a template can name."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)


class Strategy(StrEnum):
    """What becomes of a flow one of whose nodes fails for good; CONTINUE: it goes on as if that had found nothing."""

    STOP = "stop_on_error"
    CONTINUE = "continue_on_error"


class Retry(_Part):
    """``delay`` is in seconds, between two attempts."""

    max_attempts: int = Field(1, ge=1, le=10)
    delay: float = Field(1.0, ge=0, le=60)


class ErrorHandling(_Part):
    """``notification`` is kept for the client; nothing is sent."""

    strategy: Strategy = Strategy.STOP
    notification: dict[str, Any] | None = None


class Execution(_Part):
    """``timeout`` is in seconds, for the whole flow."""

    timeout: float = Field(300.0, gt=0, le=3600)
    retry: Retry = Field(default_factory=Retry)
    error_handling: ErrorHandling = Field(default_factory=ErrorHandling)


class NodeInput(_Part):
    """``values`` by name of the input: a value, or a template that makes it."""

    schema_: dict[str, Any] | None = Field(None, alias="schema")
    values: dict[str, Any] = Field(default_factory=dict)


class NodeData(_Part):
    input: NodeInput = Field(default_factory=NodeInput)
    output: dict[str, Any] | None = None


class Node(_Part):
    id: NodeId
    type: str = Field(max_length=64)
    title: str | None = Field(None, max_length=1024)
    data: NodeData = Field(default_factory=NodeData)

    @property
    def values(self) -> dict[str, Any]:
        return self.data.input.values


class Edge(_Part):
    id: str | None = Field(None, max_length=512)
    source: str = Field(max_length=128)
    target: str = Field(max_length=128)
    type: str | None = Field(None, max_length=64)


class Flow(_Part):
    """Nodes and the order between them; an edge says that its target begins after its source has ended."""

    name: str = Field(max_length=256)
    title: str | None = Field(None, max_length=256)
    description: str | None = Field(None, max_length=100_000)
    version: str = Field("1.0.0", max_length=64)
    execution: Execution = Field(default_factory=Execution)
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    nodes: list[Node] = Field(min_length=1, max_length=MOST_NODES)
    edges: list[Edge] = Field(max_length=MOST_EDGES)
    style: dict[str, Any] | None = None

    def posted(self) -> dict[str, Any]:
        """As it was written: what was left out stays out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)
