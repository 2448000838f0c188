"""What a service counts about its work, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest

WORK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
SEARCHABLE_SECONDS = (0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One set per process object, in a registry of its own; label values are few and never ids."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        Info("aperag_service", "Which service this is", registry=self.registry).info({"service": service})
        ProcessCollector(registry=self.registry)
        self._health()
        self._work()
        self._messages()
        self._turns()
        self._backlog()

    def render(self) -> bytes:
        """The exposition format of ``CONTENT_TYPE``."""
        return generate_latest(self.registry)

    def _health(self) -> None:
        self.ready = self._gauge("ready", "Whether the service can work, as /readyz says at the scrape")
        self.check_ok = self._gauge("check_ok", "Whether one of the things the service depends on is there", "check")

    def _work(self) -> None:
        self.attempts = self._counter("attempts", "Deliveries worked on", "consumer", "outcome")
        self.duration = self._histogram(
            "attempt_duration_seconds", "Time from a delivery to its settlement", WORK_SECONDS, "consumer"
        )
        self.lag = self._histogram(
            "delivery_lag_seconds", "Time from a message's publish to its first delivery", WORK_SECONDS, "consumer"
        )
        self.slots = self._gauge("worker_slots", "Messages this process takes at a time", "consumer")
        self.busy_slots = self._gauge("worker_busy_slots", "Messages at work in this process", "consumer")
        self.redeliveries = self._counter("redeliveries", "Deliveries that were not the first", "consumer")
        self.dead_letters = self._counter("dead_letters", "Steps and messages given up", "code")
        self.fence_rejects = self._counter("fence_rejects", "Writes refused: a newer generation or lease", "kind")
        self.lease_lost = self._counter("leases_lost", "Beats that found their lease gone", "kind")
        self.upload_to_searchable_seconds = self._histogram(
            "upload_to_searchable_seconds", "Time from a requested change to its last active index", SEARCHABLE_SECONDS
        )

    def _messages(self) -> None:
        self.publishes = self._counter("publishes", "Messages sent to a stream", "kind", "result")
        self.duplicates = self._counter(
            "duplicates", "Commands the stream already had; on a first dispatch that is a defect", "kind", "first"
        )
        self.permission_violations = self._counter("permission_violations", "Subjects that NATS refused this service")
        self.advisories = self._counter(
            "advisories", "Messages that the server gave up; each is a defect", "kind", "consumer"
        )
        self.relay_latency_seconds = self._histogram(
            "relay_latency_seconds", "Time from an event's transaction to its relay", WORK_SECONDS
        )
        self.spans_dropped = self._gauge("dropped_spans", "Spans that no collector or stream got")
        self.unreadable_events = self._counter("unreadable_events", "Messages of the event stream that are no events")

    def _turns(self) -> None:
        self.turn_first_word_seconds = self._histogram(
            "turn_first_word_seconds", "Time from a question to the first word of its answer", SEARCHABLE_SECONDS
        )
        self.followed_turns = self._gauge("followed_turns", "Turns that somebody follows at this gateway")
        self.turn_gaps = self._counter("turn_gaps", "Times that events of a followed turn were found to be missing")

    def _backlog(self) -> None:
        self.consumer_pending = self._gauge("consumer_pending_messages", "Messages not yet delivered", "consumer")
        self.consumer_ack_pending = self._gauge(
            "consumer_ack_pending_messages", "Messages delivered and not settled", "consumer"
        )
        self.open_steps = self._gauge(
            "open_steps", "Rows that are not settled: waiting, blocked, queued, …", "consumer", "state"
        )
        self.failed_steps = self._gauge("failed_steps", "Rows that were given up and stand so", "consumer")
        self.waiting_documents = self._gauge("waiting_documents", "Rows that wait for their release", "lane")
        self.open_tasks = self._gauge("open_tasks", "Requested changes that have not ended", "kind")
        self.oldest_task_age_seconds = self._gauge(
            "oldest_task_age_seconds", "How long the oldest requested change has been open", "kind"
        )
        self.open_dead_letters = self._gauge("open_dead_letters", "Dead letters that nobody has redriven")
        self.service_instances = self._gauge("service_instances", "Processes seen within 30 seconds", "service")
        self.stream_messages = self._gauge("stream_messages", "Messages that a stream holds", "stream")
        self.stream_bytes = self._gauge("stream_bytes", "Bytes that a stream holds", "stream")
        self.stream_max_bytes = self._gauge("stream_max_bytes", "Bytes that a stream may hold", "stream")
        self.oldest_due_age_seconds = self._gauge("oldest_due_age_seconds", "How long the oldest row has been due")
        self.outbox_unrelayed = self._gauge("outbox_unrelayed_events", "Events not yet on their stream")
        self.oldest_unrelayed_age_seconds = self._gauge(
            "oldest_unrelayed_age_seconds", "How long the oldest event has waited for its relay"
        )
        self.evaluations = self._gauge("evaluations", "Evaluations that were not deleted", "status")
        self._timers()

    def _timers(self) -> None:
        self.timer_lateness = self._gauge("timer_lateness_seconds", "How late a timer's last run was", "timer")
        self.timer_duration = self._histogram(
            "timer_duration_seconds", "Time that a run of a timer took", WORK_SECONDS, "timer"
        )
        self.timer_runs = self._counter("timer_runs", "Runs of a timer that have ended", "timer", "outcome")
        self.timer_success_age = self._gauge(
            "timer_seconds_since_success", "How long ago a timer's last good run ended", "timer"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"aperag_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"aperag_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"aperag_{name}", text, labels, buckets=buckets, registry=self.registry)
