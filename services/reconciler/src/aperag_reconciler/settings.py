"""Settings of the reconciler: how often each timer ticks and how long things are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from aperag_common.settings import Block, ServiceSettings


class TimerSettings(Block):
    """Periods of the timers; a tick is dropped while an earlier one is unconsumed."""

    reconcile_indexes: timedelta = Field(timedelta(seconds=10), description="redrive, release and stuck checks")
    outbox: timedelta = Field(timedelta(seconds=5), description="relay of events that a crash left behind")
    collection_gc: timedelta = Field(timedelta(seconds=600), description="expiry, tombstones, orphans, retention")
    reconcile_collection_summaries: timedelta = Field(
        timedelta(seconds=60), description="collections' summaries made to agree with their documents"
    )
    reconcile_evaluations: timedelta = Field(
        timedelta(seconds=300), description="stuck questions of evaluations reset, evaluations' figures made to agree"
    )
    reconcile_model_switches: timedelta = Field(
        timedelta(seconds=5), description="collections' vectors made to agree with their embedding models"
    )
    topology: timedelta = Field(timedelta(seconds=30), description="streams and consumers made to agree (local timer)")


class RetentionSettings(Block):
    """How long rows and objects are kept that nobody reads any more."""

    uploaded: timedelta = Field(timedelta(hours=24), description="an unconfirmed upload expires after this")
    tombstone: timedelta = Field(timedelta(minutes=10), description="a deleted document's row is kept this long")
    orphan_object: timedelta = Field(timedelta(hours=24), description="an object without a row is removed after this")
    outbox: timedelta = Field(timedelta(days=7), description="relayed events are kept for a replay this long")
    workflow: timedelta = Field(timedelta(days=30), description="ended workflows are kept this long")
    dead_letter: timedelta = Field(timedelta(days=90), description="requeued dead letters are kept this long")
    session: timedelta = Field(timedelta(0), description="ended sessions are kept this long beyond their end")
    login_throttle: timedelta = Field(timedelta(hours=24), description="failed logins are remembered this long")
    invitation: timedelta = Field(timedelta(days=30), description="invitations are kept this long after they expired")
    audit_log: timedelta = Field(timedelta(days=90), description="who changed what is kept this long")
    idempotency_record: timedelta = Field(
        timedelta(hours=24), description="answers are kept this long for requests repeated under an Idempotency-Key"
    )
    ingest_event: timedelta = Field(
        timedelta(days=30),
        description="settled events of other services are known this long: a repeated one is dropped",
    )
    open_dead_letter: timedelta | None = Field(
        timedelta(days=365), description="dead letters that nobody requeued are kept this long; none = for ever"
    )
    search_history: timedelta | None = Field(
        timedelta(days=90), description="searches in a user's history are kept this long; none = for ever"
    )
    turn: timedelta | None = Field(None, description="answered questions are kept this long; none = for ever")
    chat: timedelta | None = Field(
        None, description="chats without files that nobody has used for this long are removed; none = never"
    )
    api_key: timedelta | None = Field(
        timedelta(days=90), description="revoked API keys are kept this long for the audit log; none = for ever"
    )
    webhook_delivery: timedelta = Field(
        timedelta(days=30),
        description="what was sent to webhooks is kept this long, and known when its event comes again; not shorter than"
        " events are kept",
    )
    unseen: timedelta = Field(
        timedelta(days=1), description="processes and timers not seen for this long are forgotten"
    )

    @model_validator(mode="after")
    def _remembers_deliveries(self) -> Self:
        if self.webhook_delivery < self.outbox:
            message = (
                f"RETENTION__WEBHOOK_DELIVERY is {self.webhook_delivery}, RETENTION__OUTBOX {self.outbox}: an event that is"
                " relayed again after its delivery was forgotten would be delivered twice, so keep deliveries as long"
            )
            raise ValueError(message)
        return self


class SummarySettings(Block):
    """When a collection's summary is made again after its documents have changed."""

    quiet: timedelta = Field(timedelta(seconds=30), description="wait until no document has changed for this long")
    longest: timedelta = Field(timedelta(minutes=10), description="… or until the summary is older than this")


class EvaluationSettings(Block):
    stuck_after: timedelta = Field(
        timedelta(minutes=15), description="a question that has been running for longer waits again"
    )


class SwitchSettings(Block):
    """Changes of collections' embedding models."""

    grace: timedelta = Field(
        timedelta(seconds=60),
        description="old vectors are kept this long after a model migration, longer than any search takes",
    )


class Settings(ServiceSettings):
    timers: TimerSettings = Field(default_factory=TimerSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    summaries: SummarySettings = Field(default_factory=SummarySettings)
    evaluations: EvaluationSettings = Field(default_factory=EvaluationSettings)
    switches: SwitchSettings = Field(default_factory=SwitchSettings)
