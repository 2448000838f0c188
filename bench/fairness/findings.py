"""The figures of a fairness run; README.md says what each of them means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.measure.samples import percentile, spread
from bench.report.figures import Findings, Row, Section, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.fairness.loads import Backlog, Load

WANTED = 2.0
MILLI = 1000.0


@dataclass(frozen=True, slots=True)
class Trial:
    """``seconds`` from the begin of the POST until a search by both legs answered with the document."""

    seconds: float
    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """``alone`` before anybody else had work, ``beside`` while the backlog was worked on."""

    load: Load
    queueing_seconds: float
    before: Backlog
    after: Backlog
    alone: Sequence[Trial]
    beside: Sequence[Trial]
    per_second: float
    """Of the backlog while the trials ran: documents that ended, deliveries that were tried."""


def findings(measured: Measured) -> Findings:
    alone, beside = ([trial.seconds for trial in trials] for trials in (measured.alone, measured.beside))
    rows: list[Row] = [
        {"what": "nobody else has work", "trials": len(alone), **spread(alone)},
        {"what": "beside the backlog", "trials": len(beside), **spread(beside)},
    ]
    sections = [
        Section("POST to searchable by both legs, s", rows),
        Section("where the time goes, median ms", _stages(measured)),
        Section("backlog", _backlog(measured)),
    ]
    summary: Row = {
        "queued": measured.load.size,
        "trials": len(beside),
        "p50": percentile(beside, 0.5),
        "p95": percentile(beside, 0.95),
        "alone_p50": percentile(alone, 0.5),
    }
    target = at_most("beside the backlog, p50 s", percentile(beside, 0.5), WANTED)
    return Findings(sections, [target], summary=summary)


def _stages(measured: Measured) -> list[Row]:
    return [
        {"stage": stage, "alone": _median(measured.alone, stage), "beside": _median(measured.beside, stage)}
        for stage in measured.beside[0].stages
    ]


def _median(trials: Sequence[Trial], stage: str) -> float:
    return percentile([trial.stages[stage] * MILLI for trial in trials], 0.5)


def _backlog(measured: Measured) -> list[Row]:
    return [
        {"what": f"{measured.load.things} queued", "value": measured.load.size},
        {"what": "seconds to queue them", "value": measured.queueing_seconds},
        {"what": "waiting at the first trial", "value": measured.before.waiting},
        {"what": "in flight at the first trial", "value": measured.before.released},
        {"what": "waiting after the last trial", "value": measured.after.waiting},
        {"what": "worked off per second meanwhile", "value": measured.per_second},
    ]
