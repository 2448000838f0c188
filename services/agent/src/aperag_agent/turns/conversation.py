"""One run of a turn: the model, its tools, and the live events about their work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_ai.usage import RunUsage, UsageLimits

from aperag_agent.completions.asking import Asking, ask, of_messages, of_turns
from aperag_agent.failures import TurnFailed, of_tools, silent
from aperag_agent.local.answers import language_of
from aperag_agent.publishing import EventPublisher
from aperag_agent.tools.allowed import allowed
from aperag_agent.tools.findings import Findings
from aperag_agent.tools.framing import Framing
from aperag_agent.tools.toolset import toolset
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pydantic_ai.messages import ModelMessage

    from aperag_agent.completions.resolve import Completions
    from aperag_agent.settings import LimitSettings
    from aperag_agent.turns.repository import EarlierTurn, TurnRow
    from aperag_common.live.queue import AgentMessageQueue


@dataclass(slots=True)
class Conversation:
    """Of one run; ``usage`` grows while it goes on and is there whatever becomes of it."""

    turn: TurnRow
    credential: str
    queue: AgentMessageQueue
    mcp_url: str
    limits: LimitSettings
    completions: Completions
    first_word: Callable[[], None]
    usage: RunUsage = field(default_factory=RunUsage)

    async def hold(self, earlier: Sequence[EarlierTurn]) -> None:
        """Raises ``TurnFailed`` where it ends without an answer, ``Retryable`` where the tools are away."""
        request = self.turn.request
        findings = Findings(language_of(self.turn.question, str(request.get("language") or "en-US")))
        framing = Framing()
        publisher = EventPublisher(self.queue, findings, self.limits.answer, self.first_word)
        chosen = await self.completions.of_turn(self.turn, findings)
        tools = toolset(self.mcp_url, self.credential, allowed(request), findings, framing, publisher.shown.__setitem__)
        asking = Asking(
            str(request.get("prompt") or self.turn.question),
            [str(request.get("system_prompt") or ""), framing.rule],
            history_of(request, earlier),
            [tools],
        )
        limits = UsageLimits(request_limit=self.limits.steps, total_tokens_limit=self.limits.tokens)
        try:
            await ask(chosen, asking, self.usage, limits, publisher.event)
        except TurnFailed:
            raise
        except Exception as err:
            if (unreachable := of_tools(err)) is not None:
                raise unreachable from err
            raise
        if not publisher.written:
            raise silent()
        if references := findings.references():
            await self.queue.put({"type": TurnEventKind.REFERENCES, "data": {"items": references}})

    def spent(self) -> dict[str, Any]:
        return spent(self.usage)


def spent(usage: RunUsage) -> dict[str, Any]:
    """In the shape that a turn keeps."""
    return {
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "tool_calls": usage.tool_calls,
    }


def history_of(request: Mapping[str, Any], earlier: Sequence[EarlierTurn]) -> list[ModelMessage]:
    """What was said before: by the client's own word, where it keeps the conversation, else by the chat's turns."""
    given = request.get("messages")
    return of_turns(earlier) if given is None else of_messages(given)
