"""The MCP service's tools for one turn: with its lease as credential, those that it may use, and what they find kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai.mcp import MCPToolset

from aperag_agent.spans import asking
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_ai import RunContext
    from pydantic_ai.mcp import CallToolFunc
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset

    from aperag_agent.tools.findings import Findings
    from aperag_agent.tools.framing import Framing

CONNECT_SECONDS = 10.0
READ_SECONDS = 130.0
"""A little more than the longest tool of the MCP service takes."""


def toolset(
    url: str,
    credential: str,
    offered: frozenset[str],
    findings: Findings,
    framing: Framing,
    shown: Callable[[str, str], None],
) -> AbstractToolset[Any]:
    """``shown`` gets the id of each finished call and a line about it for people; failures go to the model as they are."""

    async def call(ctx: RunContext[Any], call_tool: CallToolFunc, name: str, arguments: dict[str, Any]) -> Any:
        with asking(f"execute_tool {name}", **{"gen_ai.tool.name": name}):
            # The headers below are those of the whole turn: a call's own context travels in its message.
            result = await call_tool(name, arguments, metadata=dict(propagate.inject()) or None)
        findings.add(name, arguments, result)
        shown(ctx.tool_call_id or "", findings.describe(name, arguments, result))
        return framing.frame(result)

    tools = MCPToolset[Any](
        url,
        headers={"Authorization": f"Bearer {credential}", **propagate.inject()},
        process_tool_call=call,
        tool_error_behavior="failed",
        init_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_retries=1,
    )
    return tools.filtered(lambda _, tool: _is_offered(tool, offered))


def _is_offered(tool: ToolDefinition, offered: frozenset[str]) -> bool:
    return tool.name in offered
