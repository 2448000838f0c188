"""What clients of other forms are told of a turn: OpenAI's chunks, the console's and the WebSocket's frames."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aperag_api.conversation.answers.frames import AgentFrames, FlowFrames
from aperag_api.conversation.answers.schemas import Body
from aperag_api.conversation.openai.chunks import DONE, Chunks
from aperag_api.conversation.sockets.inbound import Cancel, NotUnderstood, read
from aperag_api.conversation.sockets.texts import Problem, text_of
from aperag_api.conversation.turns.schemas import AgentMessage
from aperag_common.live.events import TurnEvent, TurnEventKind

if TYPE_CHECKING:
    from aperag_common.live.queue import Message

KINDS = TurnEventKind
REFERENCE = {"text": "t", "score": 1.0, "metadata": {}}
STOP = (
    KINDS.STOP,
    {"outcome": "answered", "usage": {"input_tokens": 3, "output_tokens": 2}, "references": [REFERENCE]},
)


def events(*told: tuple[TurnEventKind, dict[str, Any]], run: int = 1) -> list[Message]:
    return [TurnEvent(run, seq, kind, data, 12.9).message for seq, (kind, data) in enumerate(told)]


def says(text: str) -> tuple[TurnEventKind, dict[str, Any]]:
    return KINDS.MESSAGE, {"text": text}


START = (KINDS.START, {})
READ = {"call_id": "c", "tool": "web_read", "title": "Web pages", "text": "Read 1", "failed": False}
TOOL = (KINDS.TOOL_CALL_RESULT, READ)


def chunks(*runs: list[Message], with_usage: bool = False) -> list[dict[str, Any]]:
    made = Chunks("id", 1, with_usage)
    lines = [line for run in runs for line in made.of(run)]
    return [json.loads(line[len(b"data: ") :]) for line in lines if line != DONE]


def text_in(told: list[dict[str, Any]]) -> str:
    return "".join(it["choices"][0]["delta"].get("content", "") for it in told if it.get("choices"))


def test_an_answer_that_came_at_once_is_still_two_pieces() -> None:
    told = chunks(events(START, says("Three minutes."), STOP))
    assert [it["choices"][0]["delta"] for it in told] == [
        {"role": "assistant", "content": ""},
        {"content": "Three m"},
        {"content": "inutes."},
        {},
    ]
    assert told[-1]["choices"][0]["finish_reason"] == "stop"
    assert text_in(chunks(events(START, says("x"), STOP))) == "x"


def test_texts_with_something_between_them_are_apart_as_in_the_stored_answer() -> None:
    assert text_in(chunks(events(START, says("Let me see."), TOOL, says("Three."), says(" Minutes."), STOP))) == (
        "Let me see.\n\nThree. Minutes."
    )


def test_usage_comes_last_and_only_where_it_was_asked_for() -> None:
    told = chunks(events(START, says("yes"), STOP), with_usage=True)
    assert (told[-1]["choices"], told[-1]["usage"]["total_tokens"]) == ([], 5)
    assert all(it["usage"] is None for it in told[:-1])


def test_a_run_that_writes_the_same_again_goes_on_where_the_text_stood() -> None:
    told = chunks(events(START, says("Three "), says("min")), events(START, says("Three minutes."), STOP, run=2))
    assert text_in(told) == "Three minutes."
    assert sum(it["choices"][0]["delta"].get("role") == "assistant" for it in told) == 1


def test_a_run_that_writes_something_else_is_an_error_and_no_answer() -> None:
    for second in ((says("Four minutes."), says(" Or so.")), (says("Th"),)):
        told = chunks(events(START, says("Three ")), events(START, *second, STOP, run=2))
        assert [it["error"]["code"] for it in told if "error" in it] == ["answer_begun_anew"]
        assert told[-1].keys() == {"error"}


def test_a_failed_turn_is_an_error_and_no_end() -> None:
    told = chunks(events(START, (KINDS.ERROR, {"code": "MODEL_BUSY", "message": "later"})))
    assert told[-1] == {"error": {"message": "later", "type": "server_error", "param": None, "code": "model_busy"}}


def test_references_stand_before_the_end_on_a_socket_and_in_it_elsewhere() -> None:
    told = events(START, says("yes"), (KINDS.REFERENCES, {"items": [REFERENCE]}), STOP)
    socket = FlowFrames("m", 3, socket=True).of(told)
    assert [it["type"] for it in socket] == ["start", "message", "references", "stop"]
    assert (socket[2]["data"], socket[2]["memoryCount"], socket[2]["timestamp"]) == ([REFERENCE], 3, 12)
    stream = FlowFrames("m", 3, socket=False).of(told)
    assert [it["type"] for it in stream] == ["start", "message", "stop"]
    assert stream[-1]["data"] == [REFERENCE]


def test_an_agents_tools_are_told_of_where_they_worked() -> None:
    failed = (TOOL[0], {**TOOL[1], "failed": True})
    told = AgentFrames("m").of(events(START, TOOL, failed, says("yes"), STOP))
    assert [it["type"] for it in told] == ["start", "tool_call_result", "message", "stop"]
    assert (told[1]["tool_name"], told[1]["result"]) == ("web_read", None)
    assert told[1]["data"] == "**Web pages**\n\nRead 1\n\n", "a title line, and a blank line after all"
    untitled = (TOOL[0], {name: value for name, value in READ.items() if name != "title"})
    assert AgentFrames("m").of(events(untitled))[0]["data"].startswith("**web_read**\n\n"), "of an older agent"
    [error] = AgentFrames("m").of(events((KINDS.ERROR, {"code": "C", "message": "no"})))
    assert (error["id"], error["data"]) == ("error", "no")


@pytest.mark.parametrize(
    ("raw", "message", "files"),
    [
        ("How long?", "How long?", []),
        ('{"message": "How long?", "files": ["doc1", {"id": "doc2"}]}', "How long?", ["doc1", "doc2"]),
        ('{"message": "How long?", "files": null}', "How long?", []),
        ('{"other": 1}', '{"other": 1}', []),
        ("{no json", "{no json", []),
    ],
)
def test_the_console_posts_text_or_json(raw: str, message: str, files: list[str]) -> None:
    body = Body.read(raw.encode())
    assert (body.message, body.files) == (message, files)


def test_a_frame_is_a_question_or_a_cancel() -> None:
    agent = read('{"query": " x ", "collections": null, "files": null, "language": "ko-KR"}', flow=False)
    assert isinstance(agent, AgentMessage)
    assert (agent.query, agent.collections, agent.files, agent.language) == ("x", [], None, "ko-KR")
    for name in ("data", "message"):
        flow = read(json.dumps({name: "y", "files": ["doc1"]}), flow=True)
        assert isinstance(flow, AgentMessage)
        assert (flow.query, [it.id for it in flow.files or ()]) == ("y", ["doc1"])
    assert read('{"type": "cancel", "id": "m1"}', flow=True) == Cancel("m1")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("{", Problem.JSON),
        ("[]", Problem.JSON),
        ("[" * 100_000, Problem.JSON),
        ('{"collections": []}', Problem.QUERY),
        ('{"query": "x", "completion": {"temperature": 99}}', Problem.MODEL),
        ('{"query": "x", "language": "xx"}', Problem.UNKNOWN),
        ('{"query": "a\\u0000b"}', Problem.UNKNOWN),
    ],
)
def test_what_is_no_question_is_named(raw: str, problem: Problem) -> None:
    with pytest.raises(NotUnderstood) as caught:
        read(raw, flow=False)
    assert caught.value.problem is problem


def test_every_problem_is_said_in_every_language() -> None:
    for language in ("en-US", "ko-KR", "zh-CN", "ja-JP", "fr-FR"):
        assert len({text_of(problem, language) for problem in Problem}) == len(Problem)
