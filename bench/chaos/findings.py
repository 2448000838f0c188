"""The figures of a chaos run; README.md says what each of them means."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_testing.chaos.judge import count
from bench.report.figures import Findings, Row, Section, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aperag_testing.chaos.finding import Finding
    from aperag_testing.chaos.ingest import Struck
    from aperag_testing.chaos.plan import Plan
    from aperag_testing.chaos.rest import Rest

CONVERGED_WITHIN = 60.0
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Pace:
    """How long documents took, in seconds; ``again`` counts jobs that needed more than one attempt, ``letters`` the
    dead letters that name no document: messages that the server, not a worker, gave up.
    """

    median: float | None
    longest: float | None
    again: int
    letters: int


@dataclass(frozen=True, slots=True)
class Hurt:
    """``built_after`` counts builds that ended well after the last fault; ``calm_rate`` is how many the same stack
    makes per second when nothing dies. ``went_through`` is false where the ingest itself did not end.
    """

    plan: Plan
    settings: str
    struck: Sequence[Struck]
    went_through: bool
    rest: Rest
    broken: Sequence[Finding]
    built_after: int
    calm_rate: float
    pace: Pace
    refused: Mapping[str, int]

    @property
    def compute_seconds(self) -> float:
        return self.built_after / self.calm_rate

    def since_last_fault(self, moment: float | None) -> float | None:
        return None if moment is None or not self.struck else moment - self.struck[-1].at


def findings(hurt: Hurt) -> Findings:
    converged = hurt.since_last_fault(hurt.rest.reached)
    wrong = count(hurt.broken)
    summary: Row = {
        "docs": len(hurt.plan.texts),
        "kills": sum(not it.fault.wipe for it in hurt.struck),
        "wipes": sum(it.fault.wipe for it in hurt.struck),
        **wrong,
        "seconds_to_converge": converged,
    }
    targets = [at_most(name, number, 0) for name, number in wrong.items()]
    if converged is not None:
        beyond = max(converged - hurt.compute_seconds, 0.0)
        targets.append(at_most("converged, s beyond the compute time", beyond, CONVERGED_WITHIN))
    sections = [
        Section("chaos", [summary]),
        Section("after the last fault", _after(hurt)),
        Section("killed", [{"process": name, "times": times} for name, times in _killed(hurt.struck).items()]),
        Section("asked of documents", _asked(hurt)),
        Section("requests refused and repeated", [{"why": why, "times": hurt.refused[why]} for why in hurt.refused]),
        Section("documents", _pace(hurt)),
    ]
    if hurt.broken:
        rows = [{"wrong": it.wrong.value, "what": it.what, "subject": it.subject} for it in hurt.broken[:SHOWN]]
        sections.append(Section("broken promises", rows))
    failed = bool(hurt.broken) or not hurt.went_through
    return Findings(sections, targets, summary=summary, failed=failed)


def _after(hurt: Hurt) -> list[Row]:
    since = hurt.since_last_fault
    return [
        {"what": "settings of work", "value": hurt.settings},
        {"what": "last fault", "value": _named(hurt.struck[-1]) if hurt.struck else None},
        {"what": "documents that had not ended", "value": _open(hurt)},
        {"what": "builds that ended later", "value": hurt.built_after},
        {"what": "builds per second when nothing dies", "value": hurt.calm_rate},
        {"what": "compute time of those builds, s", "value": hurt.compute_seconds},
        {"what": "every task ended, s", "value": since(hurt.rest.work)},
        {"what": "every event relayed, s", "value": since(hurt.rest.relay)},
        {"what": "consumers idle, s", "value": since(hurt.rest.consumers)},
    ]


def _killed(struck: Sequence[Struck]) -> dict[str, int]:
    """By kind of process; replicas count as one, the kill of a wipe counts as a wipe."""
    found = Counter("wipe" if it.fault.wipe else it.fault.unit.partition("-")[0] for it in struck)
    return dict(sorted(found.items()))


def _asked(hurt: Hurt) -> list[Row]:
    return [{"what": deed.value, "times": times} for deed, times in sorted(hurt.plan.asked.items())]


def _pace(hurt: Hurt) -> list[Row]:
    return [
        {"what": "upload to indexed, median s", "value": hurt.pace.median},
        {"what": "upload to indexed, longest s", "value": hurt.pace.longest},
        {"what": "jobs that needed more than one attempt", "value": hurt.pace.again},
        {"what": "dead letters that name no document", "value": hurt.pace.letters},
    ]


def _named(struck: Struck) -> str:
    return f"{struck.fault.unit} wiped" if struck.fault.wipe else struck.fault.unit


def _open(hurt: Hurt) -> int | None:
    return len(hurt.plan.texts) - hurt.struck[-1].ended if hurt.struck else None
