"""What a node is given: its values, with what other nodes have put out filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from aperag_agent.failures import TurnFailed
from aperag_common.flows.nodes import NODE_TYPES, Passage
from aperag_common.flows.references import is_template, reference_in, renderable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_common.flows.definition import Node
    from aperag_common.templates.rendering import Templates

Outputs = dict[str, dict[str, Any]]
"""By node and name of the output."""


def invalid(message: str) -> TurnFailed:
    return TurnFailed("FLOW_EXECUTION_FAILED", message)


@dataclass(frozen=True, slots=True)
class Values:
    """``query`` is the question of ``owner``. Templates are rendered in the sandbox; a plain reference is taken as it is."""

    templates: Templates
    query: str
    owner: str

    async def inputs_of(self, node: Node, outputs: Outputs) -> Any:
        """Of the node type's own class; raises ``TurnFailed`` where a value is none that it takes."""
        model = NODE_TYPES[node.type].inputs
        # A field that was left empty in a form is one that was left out.
        values = {name: value for name, value in node.values.items() if name in model.model_fields}
        filled = {name: await self._filled(value, outputs) for name, value in values.items()}
        try:
            return model.model_validate({name: it for name, it in filled.items() if it is not None and it != ""})
        except ValidationError as err:
            error = err.errors(include_url=False, include_input=False, include_context=False)[0]
            raise invalid(f"{'.'.join(map(str, error['loc']))}: {error['msg']}") from err

    async def _filled(self, value: Any, outputs: Outputs) -> Any:
        if isinstance(value, dict):
            return {name: await self._filled(held, outputs) for name, held in value.items()}
        if isinstance(value, list):
            return [await self._filled(held, outputs) for held in value]
        if (reference := reference_in(value)) is not None:
            try:
                return outputs[reference.node_id][reference.output]
            except KeyError as err:
                raise invalid(f"{reference} is not there") from err
        return await self._rendered(value, outputs) if is_template(value) else value

    async def _rendered(self, template: str, outputs: Outputs) -> str:
        nodes = {node_id: {"output": _plain(given)} for node_id, given in outputs.items()}
        rendered = await self.templates.render(renderable(template), {"nodes": nodes, "query": self.query}, self.owner)
        if rendered.text is None:
            raise invalid(f"A template cannot be rendered: {rendered.problem}")
        return rendered.text


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Without classes of ours: templates see values only."""
    return {name: _shown(value) for name, value in given.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(it) for it in value]
    return value.model_dump() if isinstance(value, BaseModel) else value


def summary(value: Any) -> Any:
    """Of an input or output, as readers see it: a few short passages."""
    if isinstance(value, list) and value and isinstance(value[0], Passage):
        return [_short(passage) for passage in value[:TOLD_PASSAGES]]
    return value[:TOLD_CHARACTERS] if isinstance(value, str) else value


TOLD_PASSAGES = 20
TOLD_CHARACTERS = 2_000


def _short(passage: Passage) -> dict[str, Any]:
    return {"text": passage.text[:TOLD_CHARACTERS], "score": passage.score, "metadata": passage.metadata}
