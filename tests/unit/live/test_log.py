"""What a run's log tells to whoever comes when; and a stored turn as events."""

from __future__ import annotations

import random

import pytest

from aperag_api.conversation.live.stored import StoredTurn, gone, log_of
from aperag_common.live.events import TERMINAL, Cursor, TurnEvent, TurnEventKind
from aperag_common.live.log import TurnLog, parts_of, remainder

K = TurnEventKind


def event(seq: int, kind: TurnEventKind = K.MESSAGE, text: str = "", run: int = 1) -> TurnEvent:
    return TurnEvent(run, seq, kind, {"text": text} if kind in {K.MESSAGE, K.THINKING} else {}, float(seq))


def log_with(*told: tuple[TurnEventKind, str]) -> TurnLog:
    log = TurnLog(1)
    for seq, (kind, text) in enumerate(told):
        log.append(event(seq, kind, text))
    return log


TOLD = log_with(
    (K.START, ""),
    (K.THINKING, "Let "),
    (K.THINKING, "me."),
    (K.MESSAGE, "Green "),
    (K.MESSAGE, "tea"),
    (K.TOOL_CALL, ""),
    (K.MESSAGE, "."),
    (K.STOP, ""),
)


def test_neighbouring_pieces_of_a_text_are_one_event_with_the_number_of_the_last() -> None:
    assert [(it.seq, it.kind, it.data.get("text")) for it in TOLD.after(-1)] == [
        (0, K.START, None),
        (2, K.THINKING, "Let me."),
        (4, K.MESSAGE, "Green tea"),
        (5, K.TOOL_CALL, None),
        (6, K.MESSAGE, "."),
        (7, K.STOP, None),
    ]


@pytest.mark.parametrize("seq", range(-1, 8))
def test_whoever_goes_on_anywhere_gets_the_same_text(seq: int) -> None:
    def text(events: list[TurnEvent]) -> str:
        return "".join(str(it.data.get("text", "")) for it in events)

    before = [it for it in TOLD.events if it.seq <= seq]
    assert text(before) + text(TOLD.after(seq)) == "Let me.Green tea."
    assert [it.seq for it in TOLD.since(seq)] == list(range(seq + 1, 8))


def test_a_row_keeps_texts_whole_and_not_what_frames_the_run() -> None:
    parts = parts_of(event.message for event in TOLD.after(-1))
    assert [(part["type"], part["data"].get("text"), part["part_id"]) for part in parts] == [
        ("thinking", "Let me.", "1-2"),
        ("message", "Green tea", "1-4"),
        ("tool_call", None, "1-5"),
        ("message", ".", "1-6"),
    ]


@pytest.mark.parametrize("known", range(9))
def test_what_the_row_says_completes_whatever_was_followed_live(known: int) -> None:
    whole = TOLD.after(-1)
    have = TurnLog(1, TOLD.events[:known]).after(-1)
    missing = remainder(have, whole)
    assert missing is not None
    told = [(it.kind, it.data.get("text", "")) for it in [*have, *missing]]
    joined = TurnLog(1, [event(at, kind, text) for at, (kind, text) in enumerate(told)]).after(-1)
    assert [(it.kind, it.data.get("text", "")) for it in joined] == [(it.kind, it.data.get("text", "")) for it in whole]


def test_what_is_no_beginning_of_the_row_is_not_completed() -> None:
    whole = TOLD.after(-1)
    assert remainder(log_with((K.START, ""), (K.MESSAGE, "Black")).after(-1), whole) is None
    assert remainder([*whole, event(9)], whole) is None


def test_a_random_log_cut_anywhere_is_completed() -> None:
    random_ = random.Random(7)
    for _ in range(300):
        kinds = [random_.choice([K.MESSAGE, K.THINKING, K.TOOL_CALL]) for _ in range(random_.randrange(12))]
        log = log_with((K.START, ""), *((kind, random_.choice("abc ")) for kind in kinds), (K.STOP, ""))
        cut = TurnLog(1, log.events[: random_.randrange(len(log.events) + 1)])
        missing = remainder(cut.after(-1), log.after(-1))
        assert missing is not None
        assert "".join(str(it.data.get("text", "")) for it in [*cut.after(-1), *missing]) == "".join(
            str(it.data.get("text", "")) for it in log.events
        )


@pytest.mark.parametrize("text", ["1-7", "12-s3", " 2-0 "])
def test_cursors_come_back_as_they_were(text: str) -> None:
    assert str(Cursor.parse(text)) == text.strip()


@pytest.mark.parametrize("text", ["", "1", "a-1", "1-", "-1", "1-2-3", "1-2\n3", "1-" + "9" * 30, "１-２"])
def test_what_is_no_cursor_starts_from_the_beginning(text: str) -> None:
    assert Cursor.parse(text) is None


def test_events_travel_unchanged_and_other_things_are_refused() -> None:
    sent = TurnEvent(2, 5, K.MESSAGE, {"text": "차"}, 1.5)
    assert TurnEvent.decode(sent.encode()) == sent
    for payload in (b"", b"[]", b"{}", b'{"run":1}', b"\xff", b'{"run":1,"seq":0,"type":"x","data":{},"at":1}'):
        with pytest.raises(ValueError):
            TurnEvent.decode(payload)


@pytest.mark.parametrize(
    ("turn", "kind", "data"),
    [
        (
            StoredTurn("ACTIVE", 1, "answered", usage={"requests": 1}),
            K.STOP,
            {"outcome": "answered", "usage": {"requests": 1}},
        ),
        (StoredTurn("ACTIVE", 0, "cancelled"), K.STOP, {"outcome": "cancelled", "usage": {}}),
        (
            StoredTurn(
                "ACTIVE",
                1,
                "failed",
                parts=[{"type": "error", "data": {"code": "C", "message": "m"}, "timestamp": 1.0}],
            ),
            K.ERROR,
            {"code": "C", "message": "m"},
        ),
        (
            StoredTurn("FAILED", 2, None, error_code="WORKER_LOST", error_message="gone"),
            K.ERROR,
            {"code": "WORKER_LOST", "message": "gone"},
        ),
        (StoredTurn("FAILED", 2), K.ERROR, {"code": "TURN_FAILED", "message": "The answer could not be made."}),
    ],
)
def test_a_stored_turn_ends_as_its_row_says(turn: StoredTurn, kind: TurnEventKind, data: dict[str, object]) -> None:
    log = log_of(turn)
    assert (log.events[0].kind, log.events[-1].kind, log.events[-1].data) == (K.START, kind, data)
    assert [it.seq for it in log.events] == list(range(len(log.events)))
    assert sum(it.kind in TERMINAL for it in log.events) == 1
    assert all(it.stored for it in log.events)


def test_an_open_turn_has_no_end_and_one_that_is_gone_has() -> None:
    assert not log_of(StoredTurn("PENDING", 0)).ended
    assert gone().ended
