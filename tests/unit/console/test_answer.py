"""An answer while it is made, and when it is read again."""

from __future__ import annotations

from typing import Any

from aperag_console.chats.answer import Answer, cited
from aperag_console.chats.history import turns_of


def told(answer: Answer, *frames: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [event for frame in frames for event in answer.take(frame)]


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "data": text}


def shown(events: list[tuple[str, dict[str, Any]]]) -> str:
    """As a browser puts it together."""
    blocks: list[str] = []
    for kind, data in events:
        if kind == "start":
            blocks = []
        elif kind == "answer":
            blocks = blocks[: data["from"]] + data["blocks"]
    return "".join(blocks)


def test_only_the_paragraphs_that_changed_are_sent() -> None:
    answer = Answer()
    told(answer, {"type": "start"}, message("First.\n\n"), message("- one\n"))
    ((kind, data),) = told(answer, message("- two"))
    assert (kind, data["from"]) == ("answer", 1)
    assert len(data["blocks"]) == 1
    assert "First" not in data["blocks"][0]


def test_what_a_browser_puts_together_is_the_whole_answer() -> None:
    text = "# Tea\n\nGreen *tea* is `steamed`.\n\n1. one\n2. two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nEnd."
    answer = Answer()
    events = told(answer, {"type": "start"}, *(message(letter) for letter in text))
    whole = Answer()
    assert shown(events) == shown(told(whole, {"type": "start"}, message(text)))
    assert "<table>" in shown(events)


def test_a_second_start_begins_the_answer_anew() -> None:
    answer = Answer()
    events = told(answer, {"type": "start"}, message("lost"), {"type": "start"}, message("kept"))
    assert shown(events) == "<p>kept</p>\n"


def test_a_text_after_a_tool_is_a_paragraph_of_its_own() -> None:
    tool = {"type": "tool_call_result", "call_id": "c", "tool_name": "search", "data": "3 passages", "failed": False}
    answer = Answer()
    events = told(answer, {"type": "start"}, message("Let me look."), tool, message("Found."))
    assert answer.text == "Let me look.\n\nFound."
    assert ("tool", {"id": "c", "name": "search", "text": "3 passages", "failed": False}) in events


def test_what_a_model_writes_does_no_harm() -> None:
    text = "<script>alert(1)</script> [x](javascript:alert(1)) ![y](http://evil.example/pixel.png) <img src=x onerror=alert(1)>"
    html = shown(told(Answer(), {"type": "start"}, message(text))) + cited(text, "turn1", 0)
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_a_number_of_a_passage_opens_it_and_others_stay_text() -> None:
    html = cited("Seven years [1], [2](http://x.example) and [9].", "turn1", 2)
    assert '<button class="cite" popovertarget="turn1-1">1</button>' in html
    assert html.count("popovertarget") == 1
    assert "[9]" in html


def test_history_becomes_turns_with_their_passages_and_judgement() -> None:
    def part(kind: str, role: str = "ai", **more: Any) -> dict[str, Any]:
        empty = {"id": "m1", "part_id": "turn1-1", "data": "", "references": None, "feedback": None, "files": None}
        return {**empty, "type": kind, "role": role, **more}

    question = part("message", "human", part_id="turn1-q", data="Why?")
    answer = part("message", data="Because [1].", feedback={"type": "good"})
    groups = [
        [question],
        [
            part("tool_call_result", data="**Search**\n\nSearched\n\n"),
            answer,
            part("references", references=[{"text": "p"}]),
        ],
    ]
    (turn,) = turns_of(groups)
    (same,) = turns_of([[it for group in groups for it in group]])
    assert turn == same
    assert (turn.id, turn.message_id, turn.question, turn.feedback) == ("turn1", "m1", "Why?", "good")
    assert turn.tools == ["Searched"]
    assert 'popovertarget="turn1-1"' in turn.html
