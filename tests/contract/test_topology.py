"""Streams, consumers and subjects fit together: every command has exactly one consumer, every name is legal."""

from __future__ import annotations

import re

import pytest

from aperag_common import subjects
from aperag_common.bus import specs, topology
from aperag_common.bus.permissions import permissions_for
from aperag_common.jobs.declared import BUILT
from aperag_common.jobs.kind import kinds
from aperag_common.jobs.steps import StepKind
from aperag_common.services import Service
from aperag_common.settings import WorkSettings
from aperag_work.policy import WorkPolicy

STREAMS = topology.streams()
CONSUMERS = [consumer for stream in STREAMS for consumer in stream.consumers]
WORKS = [work for kind in kinds() for work in kind.works]


def matches(pattern: str, subject: str) -> bool:
    wanted, have = pattern.split("."), subject.split(".")
    for position, token in enumerate(wanted):
        if token == ">":
            return len(have) > position
        if position >= len(have) or token not in ("*", have[position]):
            return False
    return len(wanted) == len(have)


@pytest.mark.parametrize("subject", sorted({work.subject for work in WORKS}))
def test_every_command_goes_to_exactly_one_consumer_of_its_stream(subject: str) -> None:
    [consumer] = [c for c in CONSUMERS if any(matches(f, subject) for f in c.filters)]
    assert consumer.stream == subjects.stream_of(subject)


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda c: c.name)
def test_a_consumers_filters_lie_inside_its_stream(consumer: specs.ConsumerSpec) -> None:
    stream = topology.stream(consumer.stream)
    assert all(any(matches(s, f.replace(">", "x")) for s in stream.accepts) for f in consumer.filters)


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda c: c.name)
def test_consumer_names_are_short_and_name_their_service(consumer: specs.ConsumerSpec) -> None:
    assert re.fullmatch(r"[a-z-]{3,31}", consumer.name)
    assert consumer.name.startswith(f"{consumer.service}-")


def test_no_two_streams_take_the_same_subject() -> None:
    roots = [{tuple(s.split(".")[:2]) for s in stream.accepts} for stream in STREAMS]
    assert sum(map(len, roots)) == len(set.union(*roots))


def test_work_is_refused_rather_than_dropped_when_its_stream_is_full() -> None:
    for stream in STREAMS:
        assert stream.description
        if stream.retention == "workqueue":
            assert stream.discard == "new"
            assert stream.max_age == 0


def test_the_server_gives_up_long_after_the_database() -> None:
    policy = WorkPolicy.of(WorkSettings())
    for work in WORKS:
        budget = policy.of_work(work.retry)
        assert topology.consumer(work.consumer).max_deliver > budget.max_attempts + budget.max_failures


@pytest.mark.parametrize("service", list(Service))
def test_no_service_may_delete_or_purge_a_stream(service: Service) -> None:
    allowed = permissions_for(service).publish
    assert not [s for s in allowed if "STREAM.DELETE" in s or "STREAM.PURGE" in s or s in (">", "$JS.API.>")]


def test_only_the_reconciler_may_change_the_topology() -> None:
    for service in (Service.API, Service.INDEXER):
        assert not [s for s in permissions_for(service).publish if "STREAM.CREATE" in s or "STREAM.UPDATE" in s]


def test_only_the_reconciler_may_take_single_messages_out_and_only_of_work_queues() -> None:
    queues = {stream.name for stream in topology.advised()}
    for service in Service:
        allowed = [s for s in permissions_for(service).publish if "STREAM.MSG" in s]
        streams = {s.rpartition(".")[2] for s in allowed}
        assert streams == (queues if service is Service.RECONCILER else set())


def test_every_work_queue_is_watched_for_messages_that_the_server_gives_up() -> None:
    """What reads events is given every one of them until it settles it: the server gives none up."""
    [watcher] = topology.stream(subjects.ADVISORIES).consumers
    for stream in STREAMS:
        for consumer in stream.consumers:
            told = [
                f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.{stream.name}.{consumer.name}" for kind in subjects.AdvisoryKind
            ]
            seen = [any(matches(f, subject) for f in watcher.filters) for subject in told]
            watched = stream in topology.advised()
            assert seen == [watched] * len(told)
            assert watched or consumer.max_deliver == -1


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
    assert subjects.parse_cancel_task(subjects.cancel_task("wf1")) == "wf1"
    for parse in (subjects.parse_event, subjects.parse_cancel_task):
        with pytest.raises(ValueError, match="not a"):
            parse("aperag.cmd.document.parse")


def test_an_index_kind_without_a_worker_is_never_dispatched() -> None:
    for kind in StepKind:
        subject = subjects.build_index(kind)
        consumed = any(matches(f, subject) for c in CONSUMERS for f in c.filters)
        assert consumed == (kind in BUILT)


@pytest.mark.parametrize("consumer", CONSUMERS, ids=lambda c: c.name)
def test_whoever_works_tells_the_server_so_well_within_its_patience(consumer: specs.ConsumerSpec) -> None:
    assert consumer.beat * 2 < consumer.ack_wait
    assert consumer.config().ack_wait == consumer.ack_wait
