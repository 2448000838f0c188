"""What is said of a flow before it runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from aperag_api.conversation.flows.problems import problems, templates
from aperag_common.flows.definition import Flow
from aperag_common.flows.graph import ancestors, answering, levels
from aperag_common.flows.references import reference_in, renderable


def node(id_: str, type_: str, **values: Any) -> dict[str, Any]:
    return {"id": id_, "type": type_, "data": {"input": {"values": values}}}


def flow(*nodes: dict[str, Any], edges: str = "") -> Flow:
    """``edges`` as ``a>b b>c``."""
    pairs = [edge.split(">") for edge in edges.split()]
    drawn = [{"source": source, "target": target} for source, target in pairs]
    return Flow.model_validate({"name": "f", "nodes": list(nodes), "edges": drawn})


START, LLM = node("start", "start"), node("llm", "llm")
DOCS = "{{ nodes.find.output.docs }}"


def test_nodes_that_need_nothing_of_each_other_stand_on_one_level() -> None:
    drawn = flow(
        START, node("a", "vector_search"), node("b", "fulltext_search"), LLM, edges="start>a start>b a>llm b>llm"
    )
    assert [[it.id for it in level] for level in levels(drawn)] == [["start"], ["a", "b"], ["llm"]]
    assert ancestors(drawn, "llm") == {"start", "a", "b"}
    assert [it.id for it in answering(drawn)] == ["llm"]
    assert problems(drawn) == []


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        (flow(START, node("a", "merge"), node("b", "merge"), edges="start>a a>b b>a"), "cycle: "),
        (flow(START, LLM, edges="llm>llm"), "cycle: llm -> llm"),
        (flow(START, START), "two nodes have the id start"),
        (flow(START, edges="start>lost"), "names the node lost"),
        (flow(LLM), "has one start node, this one has 0"),
        (flow(START, node("x", "python"), edges="start>x"), "of the type 'python'"),
        (flow(START, LLM, node("llm2", "llm"), edges="start>llm start>llm2"), "only one llm node may come last"),
        (flow(START, node("llm", "llm", docs="{{ nodes.lost.output.docs }}"), edges="start>llm"), "no node lost"),
        (
            flow(START, node("find", "vector_search"), node("llm", "llm", docs=DOCS), edges="start>find start>llm"),
            "draw an edge",
        ),
        (
            flow(START, node("llm", "llm", docs="{{ nodes.start.output.docs }}"), edges="start>llm"),
            "gives no docs, but: query",
        ),
        (flow(START, node("llm", "llm", docs="{{ nodes.start.output.query }}"), edges="start>llm"), "takes passages"),
        (flow(START, node("llm", "llm", docs="{{ query }}"), edges="start>llm"), "passages come from a node"),
        (
            flow(START, node("find", "vector_search", top_k="many"), edges="start>find"),
            "top_k: Input should be a valid integer",
        ),
        (flow(START, node("find", "vector_search", top_k=0), edges="start>find"), "greater than or equal to 1"),
        (flow(START, node("find", "vector_search", top_k=DOCS), edges="start>find"), "find does not come before it"),
        (flow(START, node("m", "merge", merge_strategy="random"), edges="start>m"), "merge_strategy"),
        (flow(START, node("llm", "llm", temperature=9), edges="start>llm"), "less than or equal to 2"),
    ],
)
def test_what_could_not_run_is_named_with_its_node(drawn: Flow, said: str) -> None:
    assert said in " | ".join(problems(drawn))


def test_all_that_is_wrong_is_said_at_once() -> None:
    drawn = flow(START, node("llm", "llm", docs="{{ nodes.lost.output.docs }}"), node("x", "python"), edges="llm>llm")
    said = problems(drawn)
    assert [part for part in ("cycle: ", "no node lost", "of the type 'python'") if part in " | ".join(said)] == [
        "cycle: ",
        "no node lost",
        "of the type 'python'",
    ]
    assert problems(flow(START, START, edges="start>lost start>gone"))[:3] == [
        "two nodes have the id start",
        "an edge names the node gone, which is not there",
        "an edge names the node lost, which is not there",
    ]


def test_what_a_client_adds_is_kept_and_what_it_leaves_out_stays_out() -> None:
    posted = {
        "name": "f",
        "schema": {"a": 1},
        "nodes": [{"id": "start", "type": "start", "position": {"x": 1}, "data": {"collapsed": True}}],
        "edges": [{"id": "e", "source": "start", "target": "start", "animated": True}],
        "style": {"edgeType": "bezier"},
    }
    assert Flow.model_validate(posted).posted() == posted


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": []},
        {"nodes": [{"id": "a b", "type": "start"}]},
        {"execution": {"timeout": 0}},
        {"execution": {"retry": {"max_attempts": 100}}},
        {"execution": {"error_handling": {"strategy": "hope"}}},
    ],
)
def test_what_has_another_shape_is_no_flow(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Flow.model_validate({"name": "f", "nodes": [START], "edges": [], **wrong})


def test_a_plain_reference_is_no_template_for_the_sandbox_whatever_its_id() -> None:
    reference = reference_in(" {{ nodes.vector_search-3f8e.output.docs }} ")
    assert str(reference) == "nodes.vector_search-3f8e.output.docs"
    assert reference_in("{{ nodes.a.output.docs }} and more") is None
    drawn = flow(START, node("l-1", "llm", prompt_template="{{ nodes.s-1.output.query }}, {query}", docs=DOCS))
    assert list(templates(drawn)) == [("node l-1, prompt_template", "{{ nodes['s-1'].output.query }}, {query}")]
    assert renderable("{{ nodes.1.output.x - nodes.items.output.y }}") == (
        "{{ nodes['1'].output.x - nodes['items'].output.y }}"
    )
