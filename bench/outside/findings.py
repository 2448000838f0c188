"""The figures of events of another service; README.md says what each of them means."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_testing.chaos.judge import count
from bench.measure.samples import percentile
from bench.report.figures import Findings, Row, Section, at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_testing.chaos.finding import Finding
    from aperag_testing.chaos.plan import Fault

MORE_MS = 20.0
WEBHOOK_MS = 50.0
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Webhooks:
    """``seconds`` are from an event to its first delivery when nothing dies; the counts are of the whole run."""

    seconds: Sequence[float]
    delivered: int
    repeated: int
    broken: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Flood:
    """Many events: ``rate`` per second until nothing waits, ``repeated`` publishes; whether it came to rest at all."""

    rate: float
    repeated: int
    broken: Sequence[Finding]
    at_rest: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds. ``uploads`` and ``events`` were measured in turns, each alone."""

    uploads: Sequence[float]
    events: Sequence[float]
    sent: int
    calm: Flood
    hurt: Flood
    struck: Sequence[Fault]
    webhooks: Webhooks


def findings(measured: Measured) -> Findings:
    uploads, events = _ms(measured.uploads), _ms(measured.events)
    broken = [*measured.calm.broken, *measured.hurt.broken, *measured.webhooks.broken]
    wrong = count(broken)
    summary: Row = {
        "events": measured.sent,
        "kills": len(measured.struck),
        **wrong,
        "events/s": measured.calm.rate,
        "events/s while killed": measured.hurt.rate,
    }
    targets = [at_most(name, number, 0) for name, number in wrong.items()]
    targets.append(at_most("event beyond upload, p50 ms", events["p50 ms"] - uploads["p50 ms"], MORE_MS))
    targets.append(at_most("event to webhook, p50 ms", _ms(measured.webhooks.seconds)["p50 ms"], WEBHOOK_MS))
    killed = Counter(fault.unit for fault in measured.struck)
    sections = [
        Section("outside", [summary]),
        Section("to searchable, nothing else to do", [{"way": "event", **events}, {"way": "upload", **uploads}]),
        Section("killed", [{"process": name, "times": killed[name]} for name in sorted(killed)]),
        Section("publishes repeated for want of an acknowledgement", [{"times": measured.hurt.repeated}]),
        Section("webhooks", [_of_webhooks(measured.webhooks)]),
    ]
    if broken:
        rows = [{"wrong": it.wrong.value, "what": it.what, "subject": it.subject} for it in broken[:SHOWN]]
        sections.append(Section("broken promises", rows))
    return Findings(
        sections, targets, summary=summary, failed=bool(broken) or not (measured.calm.at_rest and measured.hurt.at_rest)
    )


def _ms(seconds: Sequence[float]) -> dict[str, float]:
    return {"p50 ms": percentile(seconds, 0.5) * 1000, "p95 ms": percentile(seconds, 0.95) * 1000}


def _of_webhooks(webhooks: Webhooks) -> Row:
    return {**_ms(webhooks.seconds), "delivered": webhooks.delivered, "repeated": webhooks.repeated}
