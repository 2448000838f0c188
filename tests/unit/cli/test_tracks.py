"""The demonstration's bars follow events, and a failure is never shown as success."""

from __future__ import annotations

from typing import Any

import pytest

from aperag_cli.client.events import Event
from aperag_cli.client.tracks import Stage, Tracks


def listed(**changes: Any) -> dict[str, Any]:
    document = {"id": "doc1", "name": "a.md", "status": "PENDING"}
    return document | {"vector_index_status": "PENDING", "fulltext_index_status": "PENDING"} | changes


def event(type_: str, **data: Any) -> Event:
    return Event("1-1", type_, {"data": {"document_id": "doc1", **data}})


@pytest.fixture
def tracks() -> Tracks:
    made = Tracks()
    made.read([listed()])
    return made


def test_stages_are_reached_in_the_order_events_come(tracks: Tracks) -> None:
    track = tracks.by_id["doc1"]
    tracks.apply(event("document.parsed"))
    assert track.reached == {Stage.PARSE}
    tracks.apply(event("index.activated", kind="fulltext"))
    assert track.reached == {Stage.PARSE, Stage.FULLTEXT}
    assert not tracks.all_settled
    tracks.apply(event("document.indexed", outcome="SUCCESS"))
    assert track.reached == set(Stage)
    assert tracks.all_settled
    assert tracks.failures == []


def test_an_index_event_that_overtakes_the_parse_event_implies_it(tracks: Tracks) -> None:
    tracks.apply(event("index.activated", kind="vector"))
    assert tracks.by_id["doc1"].reached == {Stage.PARSE, Stage.VECTOR}


def test_the_reason_of_a_failed_index_stands_at_the_end(tracks: Tracks) -> None:
    tracks.apply(event("index.failed", kind="vector", error_code="WORKER_LOST", error_message="died 12 times"))
    tracks.apply(event("document.indexed", outcome="PARTIAL"))
    assert [track.failure for track in tracks.failures] == ["WORKER_LOST: died 12 times"]


def test_the_end_of_a_failed_change_is_a_failure_even_without_an_earlier_event(tracks: Tracks) -> None:
    tracks.apply(event("document.failed", outcome="FAILED", error_code="WORKER_LOST", error_message="died"))
    assert [track.failure for track in tracks.failures] == ["WORKER_LOST: died"]


def test_events_of_other_documents_change_nothing(tracks: Tracks) -> None:
    assert tracks.apply(Event("1-1", "document.parsed", {"data": {"document_id": "doc2"}})) is None
    assert tracks.apply(Event("1-1", "collection.deleted", {})) is None
    assert tracks.by_id["doc1"].reached == set()


def test_the_listed_state_stands_in_for_missed_events(tracks: Tracks) -> None:
    tracks.read([listed(status="RUNNING", vector_index_status="ACTIVE")])
    assert tracks.by_id["doc1"].reached == {Stage.PARSE, Stage.VECTOR}
    tracks.read([listed(status="COMPLETE")])
    assert tracks.all_settled
    tracks.read([listed(status="FAILED")])
    assert len(tracks.failures) == 1


def test_the_end_of_a_change_that_a_newer_one_replaced_settles_nothing(tracks: Tracks) -> None:
    assert tracks.apply(event("document.superseded", outcome="SUPERSEDED", status="PENDING")) is None
    assert not tracks.all_settled


def test_a_deleted_document_is_a_failure_and_nothing_is_waited_for(tracks: Tracks) -> None:
    tracks.apply(event("document.deleted"))
    assert tracks.all_settled
    assert [track.failure for track in tracks.failures] == ["it was deleted"]


def test_the_reason_that_an_event_told_survives_a_look_at_the_list(tracks: Tracks) -> None:
    tracks.apply(event("document.parse_failed", error_code="EMPTY_DOCUMENT", error_message="no text"))
    tracks.read([listed(status="FAILED")])
    assert [track.failure for track in tracks.failures] == ["EMPTY_DOCUMENT: no text"]


def test_a_document_that_had_failed_before_says_why(tracks: Tracks) -> None:
    tracks.read([listed(status="FAILED", error_code="CORRUPT_DOCUMENT", error_message="it is cut off")])
    assert [track.failure for track in tracks.failures] == ["CORRUPT_DOCUMENT: it is cut off"]
