"""The live events of a flow while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import BaseModel

from aperag_agent.flows.values import summary
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_common.flows.definition import Flow, Node
    from aperag_common.live.queue import AgentMessageQueue


def _new_id() -> str:
    return uuid4().hex[:8]


@dataclass(frozen=True, slots=True)
class Progress:
    """``whole``: with what nodes are given and give, for whoever looks for a mistake in their flow."""

    queue: AgentMessageQueue
    flow: Flow
    whole: bool
    execution_id: str = field(default_factory=_new_id)

    async def flow_started(self) -> None:
        await self._publish("flow_start", None, {"flow_name": self.flow.name})

    async def flow_ended(self) -> None:
        await self._publish("flow_end", None, {"flow_name": self.flow.name})

    async def flow_failed(self, message: str) -> None:
        await self._publish("flow_error", None, {"flow_name": self.flow.name, "error": message})

    async def started(self, node: Node, inputs: BaseModel) -> None:
        given = {name: summary(getattr(inputs, name)) for name in type(inputs).model_fields} if self.whole else {}
        await self._publish("node_start", node, {"inputs": given} if self.whole else {})

    async def ended(self, node: Node, outputs: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
        given = {name: summary(value) for name, value in outputs.items()}
        await self._publish("node_end", node, {**({"outputs": given} if self.whole else {}), **notes})

    async def failed(self, node: Node, message: str, attempt: int) -> None:
        await self._publish("node_error", node, {"error": message, "attempt": attempt})

    async def _publish(self, event_type: str, node: Node | None, data: Mapping[str, Any]) -> None:
        named = {"node_id": None if node is None else node.id, "node_type": None if node is None else node.type}
        event = {"event_type": event_type, **named, "execution_id": self.execution_id, "data": dict(data)}
        await self.queue.put({"type": TurnEventKind.NODE, "data": event})
