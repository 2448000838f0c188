"""The kinds of work that there are."""

from __future__ import annotations

from datetime import timedelta

from aperag_common import subjects
from aperag_common.events import commands
from aperag_common.jobs.kind import REMOVED_AT_ONCE, JobKind, OnChange, Work, register
from aperag_common.jobs.steps import StepKind
from aperag_common.services import Service

DOCUMENT = "document"
DOCUMENTS = "documents"
"""The group that fair release counts by document."""

TURN_ACK_WAIT = 12.0
"""Somebody waits for the answer: a turn whose agent died comes back soon after its lease has ended."""

REMOVAL = "indexer-remove"

BUILT: tuple[StepKind, ...] = (StepKind.VECTOR, StepKind.FULLTEXT)
"""Index kinds that have a worker; a job is only ever made for these."""

PARSE = JobKind(
    StepKind.PARSE.job,
    Service.INDEXER,
    DOCUMENT,
    present=Work(subjects.PARSE_DOCUMENT, commands.ParseDocument, "indexer-parse", retry="parse", slots=8),
    absent=Work(subjects.REMOVE_DOCUMENT, commands.RemoveDocument, REMOVAL, retry="remove"),
    group=DOCUMENTS,
    on_delete="document",
)


def index(kind: StepKind) -> JobKind:
    """The job kind that builds and removes one kind of index."""
    return JobKind(
        kind.job,
        Service.INDEXER,
        DOCUMENT,
        present=Work(
            subjects.build_index(kind), commands.BuildIndex, f"indexer-{kind.value}", retry=kind.value, slots=8
        ),
        absent=Work(subjects.remove_index(kind), commands.RemoveIndex, REMOVAL, retry="remove"),
        after=(PARSE.name,),
        group=DOCUMENTS,
        on_delete="document",
        label=kind.value,
    )


INDEXES: dict[StepKind, JobKind] = {kind: index(kind) for kind in BUILT}

COLLECTION_PURGE = JobKind(
    "collection.purge",
    Service.RECONCILER,
    "collection",
    absent=Work(subjects.PURGE_COLLECTION, commands.PurgeCollection, "reconciler-purge", retry="purge", slots=2),
    retention=REMOVED_AT_ONCE,
)
USER_PURGE = JobKind(
    "user.purge",
    Service.RECONCILER,
    "user",
    absent=Work(subjects.PURGE_USER, commands.PurgeUser, "reconciler-user-purge", retry="purge", slots=1),
    retention=REMOVED_AT_ONCE,
)
COLLECTION_SUMMARY = JobKind(
    "collection.summary",
    Service.INDEXER,
    "collection",
    present=Work(
        subjects.SUMMARIZE_COLLECTION, commands.SummarizeCollection, "indexer-summarize", retry="summarize", slots=2
    ),
    on_change=OnChange.RUN_AGAIN,
    on_delete="collection_summary",
)
TURN = JobKind(
    "turn",
    Service.AGENT,
    "turn",
    # Somebody waits for the answer: it is run once more, then it is over.
    present=Work(
        subjects.RUN_TURN,
        commands.RunTurn,
        "agent-turn",
        retry="turn",
        slots=32,
        ack_wait=TURN_ACK_WAIT,
        max_failures=2,
        max_attempts=2,
    ),
    on_delete="turn",
)

INGEST_EVENTS = "ingest"
"""The group that fair release counts by event of another service."""

INGEST = JobKind(
    "ingest",
    Service.API,
    "ingest",
    present=Work(subjects.APPLY_INGEST, commands.ApplyIngest, "api-apply", retry="ingest", slots=16),
    group=INGEST_EVENTS,
    on_delete="ingest_event",
)

WEBHOOK_SCHEDULE = tuple(
    timedelta(seconds=seconds) for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
)
"""Between the attempts at a delivery, as receivers of webhooks know it (Svix): the last one comes after 27.6 hours."""

WEBHOOKS = "webhooks"
"""The group of deliveries."""

WEBHOOK_DELIVER = JobKind(
    "webhook.deliver",
    Service.WEBHOOKS,
    "delivery",
    # A slot waits for somebody else's server: many cost little.
    present=Work(
        subjects.DELIVER_WEBHOOK,
        commands.DeliverWebhook,
        "webhooks-deliver",
        retry="webhook",
        slots=256,
        schedule=WEBHOOK_SCHEDULE,
    ),
    group=WEBHOOKS,
    by_due_time=True,
    made_by_worker=True,
    on_delete="webhook_delivery",
)

register(PARSE, *INDEXES.values(), COLLECTION_PURGE, USER_PURGE, COLLECTION_SUMMARY, TURN, INGEST, WEBHOOK_DELIVER)
