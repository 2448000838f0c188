"""Streams, consumers and subjects fit together: every command has exactly one consumer, every name is legal."""

from __future__ import annotations

import re

import pytest

from aperag_common.bus import subjects, topology
from aperag_common.bus.permissions import permissions_for
from aperag_common.db.models.base import StepStatus
from aperag_common.db.models.document_step import StepKind
from aperag_common.work.dispatch import StepRow, step_dispatch
from aperag_common.work.driven_tables import TABLES

CONSUMERS = [consumer for stream in topology.STREAMS for consumer in stream.consumers]


def matches(pattern: str, subject: str) -> bool:
    wanted, have = pattern.split("."), subject.split(".")
    for position, token in enumerate(wanted):
        if token == ">":
            return len(have) > position
        if position >= len(have) or token not in ("*", have[position]):
            return False
    return len(wanted) == len(have)


def dispatched_subjects() -> set[str]:
    kinds = (StepKind.PARSE, *topology.BUILT_KINDS)
    rows = [
        StepRow("s", "d", "c", "o", kind, status, 1, 1, "w", None)
        for kind in kinds
        for status in (StepStatus.PENDING, StepStatus.DELETING)
    ]
    driven = [table.command("c", "o", 1, 1, None, source="tests").subject for table in TABLES.values()]
    return {step_dispatch(row, source="tests").subject for row in rows} | set(driven)


@pytest.mark.parametrize("subject", sorted(dispatched_subjects()))
def test_every_command_goes_to_exactly_one_consumer(subject: str) -> None:
    consumers = [c.name for c in CONSUMERS if any(matches(f, subject) for f in c.filters)]
    assert len(consumers) == 1


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda c: c.name)
def test_a_consumers_filters_lie_inside_its_stream(consumer: topology.ConsumerSpec) -> None:
    stream = topology.stream(consumer.stream)
    assert all(any(matches(s, f.replace(">", "x")) for s in stream.accepts) for f in consumer.filters)


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda c: c.name)
def test_consumer_names_are_short_and_name_their_service(consumer: topology.ConsumerSpec) -> None:
    assert re.fullmatch(r"[a-z-]{3,31}", consumer.name)
    assert consumer.name.startswith(f"{consumer.service}-")


def test_no_two_streams_take_the_same_subject() -> None:
    roots = [{tuple(s.split(".")[:2]) for s in stream.accepts} for stream in topology.STREAMS]
    assert sum(map(len, roots)) == len(set.union(*roots))


def test_work_is_refused_rather_than_dropped_when_its_stream_is_full() -> None:
    for stream in topology.STREAMS:
        assert stream.description
        if stream.retention == "workqueue":
            assert stream.discard == "new"
            assert stream.max_age == 0


def test_the_server_gives_up_long_after_the_database() -> None:
    from aperag_common.work.policy import WorkPolicy

    policy = WorkPolicy()
    commands = [c for c in CONSUMERS if c.stream == subjects.COMMANDS]
    assert all(c.max_deliver > policy.max_attempts + policy.max_failures for c in commands)


@pytest.mark.parametrize("service", list(topology.Service))
def test_no_service_may_delete_or_purge_a_stream(service: topology.Service) -> None:
    allowed = permissions_for(service).publish
    assert not [s for s in allowed if "STREAM.DELETE" in s or "STREAM.PURGE" in s or s in (">", "$JS.API.>")]


def test_only_the_reconciler_may_change_the_topology() -> None:
    for service in (topology.Service.API, topology.Service.INDEXER):
        assert not [s for s in permissions_for(service).publish if "STREAM.CREATE" in s or "STREAM.UPDATE" in s]


def test_only_the_reconciler_may_take_single_messages_out_and_only_of_work_queues() -> None:
    queues = {stream.name for stream in topology.STREAMS if stream.retention == "workqueue" and stream.publishers}
    for service in topology.Service:
        allowed = [s for s in permissions_for(service).publish if "STREAM.MSG" in s]
        streams = {s.rpartition(".")[2] for s in allowed}
        assert streams == (queues if service is topology.Service.RECONCILER else set())


def test_every_work_queue_is_watched_for_messages_that_the_server_gives_up() -> None:
    [watcher] = topology.stream(subjects.ADVISORIES).consumers
    for stream in topology.STREAMS:
        for consumer in stream.consumers:
            told = [
                f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.{stream.name}.{consumer.name}" for kind in subjects.AdvisoryKind
            ]
            seen = [any(matches(f, subject) for f in watcher.filters) for subject in told]
            assert seen == [consumer is not watcher] * len(told)


@pytest.mark.parametrize("bad", ["a.b", "", "a b", "a>", "*", "ü"])
def test_what_is_no_token_never_becomes_part_of_a_subject(bad: str) -> None:
    with pytest.raises(ValueError, match="not a subject token"):
        subjects.event(bad, "document", "uploaded")
    with pytest.raises(ValueError, match="not a subject token"):
        subjects.cancel_task(bad)


def test_subjects_are_parsed_as_they_were_built() -> None:
    assert subjects.parse_event(subjects.event("user1", "document", "uploaded")) == subjects.EventSubject(
        "user1", "document", "uploaded"
    )
    assert subjects.parse_tick(subjects.tick("outbox")) == "outbox"
    assert subjects.parse_cancel_task(subjects.cancel_task("wf1")) == "wf1"
    for parse in (subjects.parse_event, subjects.parse_tick, subjects.parse_cancel_task):
        with pytest.raises(ValueError, match="not a"):
            parse("aperag.cmd.document.parse")


def test_an_index_kind_without_a_worker_is_never_dispatched() -> None:
    for kind in StepKind:
        subject = subjects.build_index(kind)
        consumed = any(matches(f, subject) for c in CONSUMERS for f in c.filters)
        assert consumed == (kind in topology.BUILT_KINDS)


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda c: c.name)
def test_whoever_works_tells_the_server_so_well_within_its_patience(consumer: topology.ConsumerSpec) -> None:
    assert consumer.beat * 2 < consumer.ack_wait
    assert consumer.config().ack_wait == consumer.ack_wait
