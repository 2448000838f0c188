"""What is wrong with a flow, told when it is written and not when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_api.conversation.flows.problems import problems, templates, unknown_variables
from aperag_common import errors

if TYPE_CHECKING:
    from aperag_common.flows.definition import Flow
    from aperag_common.templates.rendering import Templates

SHOWN = 20


@dataclass(frozen=True, slots=True)
class FlowChecker:
    sandbox: Templates

    async def checked(self, owner: str, flow: Flow) -> dict[str, Any]:
        """As it is to be kept; raises ``BotConfigInvalid`` with all that is wrong."""
        found = problems(flow)
        for place, template in templates(flow):
            if len(found) >= SHOWN:
                break
            examined = await self.sandbox.examine(template, owner)
            if examined.problem is not None:
                found.append(f"{place} is no template: {examined.problem}")
            elif unknown := unknown_variables(examined.variables):
                found.append(f"{place}: {unknown[0]} is given to no template of a flow; there are: nodes, query")
        if found:
            raise errors.BotConfigInvalid(f"This flow cannot run: {found[0]}", details={"problems": found[:SHOWN]})
        return flow.posted()
