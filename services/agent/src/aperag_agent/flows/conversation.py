"""One run of a turn that a flow answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_ai.usage import RunUsage

from aperag_agent.flows.engine import FlowRun
from aperag_agent.flows.progress import Progress
from aperag_agent.flows.runners import Runners
from aperag_agent.flows.values import Values, invalid
from aperag_agent.gateway.searches import Searches
from aperag_agent.local.answers import language_of
from aperag_agent.publishing import EventPublisher
from aperag_agent.tools.findings import Findings
from aperag_agent.tools.framing import Framing
from aperag_agent.turns.conversation import history_of, spent
from aperag_common.flows.definition import Flow
from aperag_common.flows.nodes import SEARCHES
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from aperag_agent.completions.resolve import Completions
    from aperag_agent.settings import LimitSettings
    from aperag_agent.turns.repository import EarlierTurn, TurnRow
    from aperag_common.live.queue import AgentMessageQueue
    from aperag_common.templates.rendering import Templates


@dataclass(slots=True)
class FlowConversation:
    """As ``Conversation``, by the flow that the turn was begun with: to change the bot's changes no turn."""

    turn: TurnRow
    credential: str
    queue: AgentMessageQueue
    http: httpx.AsyncClient
    templates: Templates
    limits: LimitSettings
    completions: Completions
    first_word: Callable[[], None]
    usage: RunUsage = field(default_factory=RunUsage)

    async def hold(self, earlier: Sequence[EarlierTurn]) -> None:
        """Raises ``TurnFailed`` where it ends without an answer, ``Retryable`` where the gateway is away."""
        request = self.turn.request
        flow = _flow(request["flow"])
        findings = Findings(language_of(self.turn.question, str(request.get("language") or "en-US")))
        runners = Runners(
            turn=self.turn,
            searches=Searches(self.http, self.credential),
            completions=self.completions,
            limits=self.limits,
            publisher=EventPublisher(self.queue, findings, self.limits.answer, self.first_word),
            findings=findings,
            framing=Framing(),
            usage=self.usage,
            history=history_of(request, earlier),
            searching=any(node.type in SEARCHES for node in flow.nodes),
        )
        progress = Progress(self.queue, flow, whole=bool(request.get("debug")))
        values = Values(self.templates, self.turn.question, self.turn.owner)
        await FlowRun(flow, values, runners, progress).run()
        if references := findings.references():
            await self.queue.put({"type": TurnEventKind.REFERENCES, "data": {"items": references}})

    def spent(self) -> dict[str, Any]:
        return spent(self.usage)


def _flow(stored: Any) -> Flow:
    try:
        return Flow.model_validate(stored)
    except ValidationError as err:
        raise invalid("The flow of this turn cannot be read: it is of another version. Ask again.") from err
