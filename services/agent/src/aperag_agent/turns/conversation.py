"""One run of a turn: the model, its tools, and what is told of them while they work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.usage import RunUsage, UsageLimits

from aperag_agent.local.answers import language_of
from aperag_agent.tools.allowed import allowed
from aperag_agent.tools.findings import Findings
from aperag_agent.tools.framing import Framing
from aperag_agent.tools.toolset import toolset
from aperag_agent.turns.failures import of_model, of_tools, silent
from aperag_agent.turns.telling import Telling
from aperag_common.live.events import TurnEventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic_ai.messages import ModelMessage

    from aperag_agent.completions.resolve import Completions
    from aperag_agent.settings import LimitSettings
    from aperag_agent.turns.repository import EarlierTurn, TurnRow
    from aperag_common.live.publisher import TurnPublisher


@dataclass(slots=True)
class Conversation:
    """Of one run; ``usage`` grows while it goes on and is there whatever becomes of it."""

    turn: TurnRow
    credential: str
    told: TurnPublisher
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
        telling = Telling(self.told, findings, self.limits.answer, self.first_word)
        chosen = await self.completions.of_turn(self.turn, findings)
        tools = toolset(self.mcp_url, self.credential, allowed(request), findings, framing, telling.shown.__setitem__)
        agent: Agent[None, str] = Agent(chosen.model, model_settings=chosen.settings)
        try:
            async with agent.run_stream_events(
                str(request.get("prompt") or self.turn.question),
                message_history=_history(earlier),
                instructions=[str(request.get("system_prompt") or ""), framing.rule],
                toolsets=[tools],
                usage=self.usage,
                usage_limits=UsageLimits(request_limit=self.limits.steps, total_tokens_limit=self.limits.tokens),
            ) as events:
                async for event in events:
                    await telling.event(event)
        except AgentRunError as err:
            raise of_model(err, chosen.name) from err
        except Exception as err:
            if (unreachable := of_tools(err)) is not None:
                raise unreachable from err
            raise
        if not telling.written:
            raise silent()
        if references := findings.references():
            await self.told.put(TurnEventKind.REFERENCES, {"items": references})

    def spent(self) -> dict[str, Any]:
        """In the shape that a turn keeps."""
        return {
            "requests": self.usage.requests,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "tool_calls": self.usage.tool_calls,
        }


def _history(earlier: Sequence[EarlierTurn]) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    for turn in earlier:
        messages.append(ModelRequest(parts=[UserPromptPart(content=turn.question)]))
        messages.append(ModelResponse(parts=[TextPart(content=turn.answer)]))
    return messages
