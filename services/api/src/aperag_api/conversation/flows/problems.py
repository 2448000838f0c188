"""What is wrong with a flow before it runs; pure. Templates are judged in the sandbox, apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from aperag_common.flows.graph import ancestors, answering, cycle
from aperag_common.flows.nodes import NODE_TYPES, START, Kind
from aperag_common.flows.references import is_template, reference_in, references_in, renderable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from aperag_common.flows.definition import Flow, Node
    from aperag_common.flows.nodes import NodeType
    from aperag_common.flows.references import Reference

VARIABLES = frozenset({"nodes", "query"})
"""Given to every template."""


def problems(flow: Flow) -> list[str]:
    """Each says which node it is about; a flow without any runs, as far as can be told beforehand."""
    return [*_of_graph(flow), *(it for node in flow.nodes for it in _of_node(flow, node))]


def templates(flow: Flow) -> Iterator[tuple[str, str]]:
    """Where one stands, and the template, for all that are no plain reference."""
    for node in flow.nodes:
        for field, value in node.values.items():
            for text in _texts(value):
                if is_template(text) and reference_in(text) is None:
                    yield f"node {node.id}, {field}", renderable(text)


def unknown_variables(variables: AbstractSet[str]) -> list[str]:
    return sorted(variables - VARIABLES)


def _of_graph(flow: Flow) -> Iterator[str]:
    ids = [node.id for node in flow.nodes]
    doubled = sorted({it for it in ids if ids.count(it) > 1})
    lost = sorted({end for edge in flow.edges for end in (edge.source, edge.target)} - set(ids))
    yield from (f"two nodes have the id {it}" for it in doubled)
    yield from (f"an edge names the node {it}, which is not there" for it in lost)
    # Only what is drawn whole has an order.
    if not doubled and not lost and (circle := cycle(flow)):
        yield f"the nodes wait for each other in a cycle: {' -> '.join(circle)}"
    starts = [node.id for node in flow.nodes if node.type == START]
    if len(starts) != 1:
        yield f"a flow has one start node, this one has {len(starts)}"
    if len(ends := answering(flow)) > 1:
        yield f"only one llm node may come last, here are {', '.join(node.id for node in ends)}"


def _of_node(flow: Flow, node: Node) -> Iterator[str]:
    type_ = NODE_TYPES.get(node.type)
    if type_ is None:
        yield f"node {node.id} is of the type {node.type!r}; there are: {', '.join(NODE_TYPES)}"
        return
    before = ancestors(flow, node.id)
    for field, value in node.values.items():
        if type_.kind_of(field) is None:
            continue
        whole = reference_in(value)
        for text in _texts(value):
            for reference in [whole] if whole else references_in(text) if is_template(text) else ():
                yield from (f"node {node.id}, {field}: {it}" for it in _of_reference(flow, before, reference))
        if whole is not None:
            yield from _of_kinds(flow, node, field, whole, type_)
    yield from (f"node {node.id}, {it}" for it in _of_values(type_, node.values))


def _of_reference(flow: Flow, before: AbstractSet[str], reference: Reference) -> Iterator[str]:
    found = next((node for node in flow.nodes if node.id == reference.node_id), None)
    if found is None:
        yield f"there is no node {reference.node_id}"
    elif found.id not in before:
        yield f"the node {found.id} does not come before it: draw an edge"
    elif found.type in NODE_TYPES and reference.output not in (outputs := NODE_TYPES[found.type].outputs):
        yield f"the node {found.id} gives no {reference.output}, but: {', '.join(outputs)}"


def _of_kinds(flow: Flow, node: Node, field: str, reference: Reference, type_: NodeType) -> Iterator[str]:
    source = next((it for it in flow.nodes if it.id == reference.node_id), None)
    given = NODE_TYPES[source.type].outputs.get(reference.output) if source and source.type in NODE_TYPES else None
    wanted = type_.kind_of(field)
    if given is not None and given is not wanted:
        yield f"node {node.id}, {field}: it takes {wanted}, and {reference} is {given}"


def _of_values(type_: NodeType, values: dict[str, Any]) -> Iterator[str]:
    """Of those that stand there; what a template makes of the others is judged when it has."""
    fixed = {field: value for field, value in values.items() if not any(map(is_template, _texts(value)))}
    for field, value in values.items():
        if field not in fixed and type_.kind_of(field) is Kind.PASSAGES and reference_in(value) is None:
            yield f"{field}: passages come from a node: write {{{{ nodes.<id>.output.docs }}}} and nothing else"
    try:
        type_.inputs.model_validate({field: value for field, value in fixed.items() if value not in (None, "")})
    except ValidationError as err:
        for error in err.errors(include_url=False, include_input=False, include_context=False):
            yield f"{'.'.join(map(str, error['loc']))}: {error['msg']}"


def _texts(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        held = pending.pop()
        if isinstance(held, str):
            yield held
        elif isinstance(held, dict):
            pending += held.values()
        elif isinstance(held, list):
            pending += held
