"""One conversation with a model: its events are passed on as they come, its failures become messages for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic_ai import Agent
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart, TextPart, UserPromptPart

from aperag_agent.completions.traced import Traced
from aperag_agent.failures import of_model

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.toolsets import AbstractToolset
    from pydantic_ai.usage import RunUsage, UsageLimits

    from aperag_agent.completions.resolve import Chosen
    from aperag_agent.turns.repository import EarlierTurn


@dataclass(frozen=True, slots=True)
class Asking:
    """``instructions`` come before everything; ``history`` is what was said before the prompt."""

    prompt: str
    instructions: Sequence[str] = ()
    history: Sequence[ModelMessage] = ()
    toolsets: Sequence[AbstractToolset[Any]] = field(default=())


async def ask(
    chosen: Chosen, asking: Asking, usage: RunUsage, limits: UsageLimits, sink: Callable[[Any], Awaitable[None]]
) -> None:
    """``sink`` is given the agent library's events; ``usage`` grows while they come.

    Raises ``TurnFailed`` where the model does not answer, and what ``sink`` raises.
    """
    agent: Agent[None, str] = Agent(Traced(chosen.model), model_settings=chosen.settings)
    try:
        async with agent.run_stream_events(
            asking.prompt,
            message_history=list(asking.history),
            instructions=list(asking.instructions),
            toolsets=list(asking.toolsets),
            usage=usage,
            usage_limits=limits,
        ) as events:
            async for event in events:
                await sink(event)
    except AgentRunError as err:
        raise of_model(err, chosen.name) from err


def of_turns(earlier: Sequence[EarlierTurn]) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    for turn in earlier:
        messages.append(ModelRequest(parts=[UserPromptPart(content=turn.question)]))
        messages.append(ModelResponse(parts=[TextPart(content=turn.answer)]))
    return messages


def of_messages(given: Sequence[dict[str, str]]) -> list[ModelMessage]:
    """Of a conversation that the client keeps: ``[{"role", "content"}]``."""
    messages: list[ModelMessage] = []
    for message in given:
        content = message["content"]
        match message["role"]:
            case "assistant":
                messages.append(ModelResponse(parts=[TextPart(content=content)]))
            case "system":
                messages.append(ModelRequest(parts=[SystemPromptPart(content=content)]))
            case _:
                messages.append(ModelRequest(parts=[UserPromptPart(content=content)]))
    return messages
