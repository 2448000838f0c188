"""The order of a flow's nodes; pure."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from aperag_common.flows.nodes import LLM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aperag_common.flows.definition import Flow, Node


def levels(flow: Flow) -> list[list[Node]]:
    """Nodes that need nothing of each other stand together, each after all that it needs; raises ``CycleError``."""
    nodes = {node.id: node for node in flow.nodes}
    sorter = TopologicalSorter({node_id: sorted(_sources(flow, node_id)) for node_id in nodes})
    sorter.prepare()
    found: list[list[Node]] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found.append([nodes[node_id] for node_id in ready])
        sorter.done(*ready)
    return found


def cycle(flow: Flow) -> list[str]:
    """The nodes of one, the first of them also at its end; empty where there is none."""
    try:
        levels(flow)
    except CycleError as err:
        return list(err.args[1])
    return []


def ancestors(flow: Flow, node_id: str) -> frozenset[str]:
    """All nodes that have ended when this one begins."""
    found: set[str] = set()
    pending = list(_sources(flow, node_id))
    while pending:
        source = pending.pop()
        if source not in found:
            found.add(source)
            pending += _sources(flow, source)
    return frozenset(found)


def answering(flow: Flow) -> list[Node]:
    """The nodes whose text is the flow's answer: models that nothing comes after."""
    followed = {edge.source for edge in flow.edges}
    return [node for node in flow.nodes if node.type == LLM and node.id not in followed]


def _sources(flow: Flow, node_id: str) -> Iterable[str]:
    return {edge.source for edge in flow.edges if edge.target == node_id}
