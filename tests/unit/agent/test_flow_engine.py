"""How a flow goes on: side by side, again after a failure, and to its end or not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from aperag_agent.failures import TurnFailed
from aperag_agent.flows.engine import FlowRun
from aperag_agent.flows.progress import Progress
from aperag_agent.flows.prompts import prompt
from aperag_agent.flows.runners import _best, _merged, _within
from aperag_agent.flows.values import Values
from aperag_agent.gateway.searches import Found
from aperag_agent.tools.framing import Framing
from aperag_common import errors
from aperag_common.flows.definition import Flow
from aperag_common.flows.nodes import MergeInputs, Passage


@dataclass
class Told:
    events: list[dict[str, Any]] = field(default_factory=list)

    async def put(self, message: dict[str, Any]) -> None:
        self.events.append(message["data"])

    def of(self, kind: str) -> list[Any]:
        return [it["node_id"] for it in self.events if it["event_type"] == kind]


@dataclass
class Played:
    """``failures`` by type of node, in order; searches of one level meet at ``together``."""

    failures: dict[str, list[Exception]] = field(default_factory=dict)
    together: asyncio.Barrier | None = None
    written: int = 0
    given: list[tuple[str, Any]] = field(default_factory=list)

    async def run(self, type_: str, inputs: Any, *, answers: bool) -> Any:
        self.given.append((type_, inputs))
        if type_.endswith("_search") and self.together is not None:
            async with asyncio.timeout(5):
                await self.together.wait()
        if self.failures.get(type_):
            raise self.failures[type_].pop(0)
        if type_ == "llm":
            return {"text": "yes"}, {}
        if type_ == "start":
            return {"query": "why?"}, {}
        return {"docs": [Passage(text=type_)]}, {}


def flow(**execution: Any) -> Flow:
    nodes = [
        {"id": "start", "type": "start"},
        {"id": "a", "type": "vector_search"},
        {"id": "b", "type": "fulltext_search"},
        {
            "id": "merge",
            "type": "merge",
            "data": {
                "input": {
                    "values": {
                        "vector_search_docs": "{{ nodes.a.output.docs }}",
                        "fulltext_search_docs": "{{ nodes.b.output.docs }}",
                    }
                }
            },
        },
        {"id": "llm", "type": "llm", "data": {"input": {"values": {"docs": "{{ nodes.merge.output.docs }}"}}}},
    ]
    edges = [("start", "a"), ("start", "b"), ("a", "merge"), ("b", "merge"), ("merge", "llm")]
    drawn = [{"source": source, "target": target} for source, target in edges]
    return Flow.model_validate({"name": "f", "nodes": nodes, "edges": drawn, "execution": execution})


def run_of(drawn: Flow, played: Played) -> tuple[FlowRun, Told]:
    told = Told()
    templates: Any = None  # no value is a template
    runners: Any = played
    queue: Any = told
    return FlowRun(drawn, Values(templates, "why?", "alice"), runners, Progress(queue, drawn, whole=True)), told


RETRY = {"retry": {"max_attempts": 3, "delay": 0}}
BUSY = errors.Busy("later")


async def test_what_stands_on_one_level_runs_side_by_side() -> None:
    run, told = run_of(flow(), Played(together=asyncio.Barrier(2)))
    await run.run()
    assert told.events[0]["event_type"] == "flow_start"
    assert told.of("node_end")[-2:] == ["merge", "llm"]
    assert told.events[-1]["event_type"] == "flow_end"
    assert run.outputs["llm"] == {"text": "yes"}


async def test_what_may_pass_is_tried_again_as_often_as_the_flow_says() -> None:
    played = Played({"vector_search": [BUSY, BUSY]})
    run, told = run_of(flow(**RETRY), played)
    await run.run()
    assert told.of("node_error") == ["a", "a"]
    assert run.outputs["llm"] == {"text": "yes"}


async def test_a_failure_for_good_stops_the_flow_and_what_runs_beside() -> None:
    run, told = run_of(flow(**RETRY), Played({"fulltext_search": [errors.Terminal("no such collection")]}))
    with pytest.raises(TurnFailed, match="at the node b. no such collection") as failed:
        await run.run()
    assert failed.value.code == "FLOW_EXECUTION_FAILED"
    assert told.of("node_error") == ["b"]
    assert told.events[-1]["event_type"] == "flow_error"
    assert "llm" not in told.of("node_start")


async def test_a_flow_may_go_on_without_what_failed() -> None:
    played = Played({"vector_search": [errors.Terminal("gone")]})
    run, told = run_of(flow(error_handling={"strategy": "continue_on_error"}), played)
    await run.run()
    assert told.of("node_error") == ["a"]
    merged = next(inputs for type_, inputs in played.given if type_ == "merge")
    assert (merged.vector_search_docs, [it.text for it in merged.fulltext_search_docs]) == ([], ["fulltext_search"])


async def test_a_text_that_readers_have_begun_to_read_is_not_begun_anew() -> None:
    played = Played({"llm": [TurnFailed("MODEL_FAILED", "broke off")]}, written=4)
    run, told = run_of(flow(**RETRY), played)
    with pytest.raises(TurnFailed, match="broke off"):
        await run.run()
    assert told.of("node_error") == ["llm"]


async def test_what_is_away_for_longer_gives_the_turn_back() -> None:
    run, _ = run_of(flow(**RETRY), Played({"vector_search": [BUSY] * 3}))
    with pytest.raises(errors.Retryable):
        await run.run()


async def test_a_flow_ends_in_its_time_or_fails() -> None:
    run, told = run_of(flow(timeout=0.05), Played(together=asyncio.Barrier(3)))
    with pytest.raises(TurnFailed) as failed:
        await run.run()
    assert failed.value.code == "AGENT_TIMEOUT_ERROR"
    assert told.events[-1]["event_type"] == "flow_error"


async def test_a_flow_without_an_answer_says_so() -> None:
    drawn = Flow.model_validate({"name": "f", "nodes": [{"id": "start", "type": "start"}], "edges": []})
    run, _ = run_of(drawn, Played())
    with pytest.raises(TurnFailed, match="No output node found"):
        await run.run()


def test_lists_are_merged_in_turn_and_each_text_stands_once() -> None:
    docs = [Passage(text=it, score=score) for it, score in (("a", 0.9), ("b", 0.8))]
    words = [Passage(text=it, score=score) for it, score in (("b", 7.0), ("c", 3.0))]
    inputs = MergeInputs(vector_search_docs=docs, fulltext_search_docs=words)
    assert [it.text for it in _merged(inputs)] == ["a", "b", "c"]
    both = MergeInputs(
        vector_search_docs=[Passage(text=it) for it in "ABC"], fulltext_search_docs=[Passage(text=it) for it in "DEA"]
    )
    assert [it.text for it in _merged(both)] == ["A", "D", "B", "E", "C"], "what both found stays where it stood first"
    assert len(_merged(inputs.model_copy(update={"deduplicate": False}))) == 4


def test_the_best_of_all_collections_are_taken_and_no_more_than_fit() -> None:
    found = [Found([Passage(text="low", score=0.1), Passage(text="none")]), Found([Passage(text="high", score=0.9)])]
    assert [it.text for it in _best(found, 2)] == ["high", "low"]
    assert [it.text for it in _within(_best(found, 3), 8)] == ["high", "low"]
    assert [it.text for it in _within([Passage(text="far too long")], 3)] == ["far"]


def test_a_prompt_is_filled_in_once_and_nothing_else_of_it_is_read() -> None:
    framing = Framing("mark")
    told = prompt("{context}|{query}|{0.__class__}", "what is {context}?", [], framing)
    assert told == "<material mark>\n(nothing was found)\n</material mark>|what is {context}?|{0.__class__}"
