"""The figures of a pipeline run; README.md says what each of them means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.report.figures import Findings, Row, Section, Target, at_most

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.ingest.pure import Pure

MILLI = 1000.0


@dataclass(frozen=True, slots=True)
class Ran:
    """``accepted`` and ``seconds`` count from the first document; ``cpu_seconds`` go by process."""

    name: str
    documents: int
    indexed: int
    accepted: float
    seconds: float
    cpu_seconds: Mapping[str, float]

    @property
    def rate(self) -> float:
        return self.documents / self.seconds


@dataclass(frozen=True, slots=True)
class Recovery:
    """``left`` documents were open at the kill and would have taken ``work`` seconds without it.

    ``seconds`` is None where ``lost`` documents were not indexed before the cap.
    """

    name: str
    left: int
    work: float
    seconds: float | None
    lost: int


def findings(corpus: str, pure: Pure, runs: Sequence[Ran], recoveries: Sequence[Recovery]) -> Findings:
    sections = [
        Section(f"documents: {corpus}", [_rates(ran, pure) for ran in runs]),
        Section("CPU ms per document", _cpu(pure, runs)),
        Section("after kill -9 of a worker", [_recovery(one) for one in recoveries]),
    ]
    return Findings(sections, _targets(pure, runs))


def orchestration(ran: Ran, pure: Pure) -> float:
    """CPU seconds per document beyond what the work itself costs."""
    return (sum(ran.cpu_seconds.values()) - sum(pure.cpu_seconds.values())) / ran.documents


def _rates(ran: Ran, pure: Pure) -> Row:
    return {
        "side": ran.name,
        "documents": ran.documents,
        "indexed": ran.indexed,
        "accepted per second": ran.documents / ran.accepted,
        "indexed per second": ran.rate,
        "without services": ran.documents / pure.seconds,
        "orchestration, CPU ms per document": orchestration(ran, pure) * MILLI,
    }


def _cpu(pure: Pure, runs: Sequence[Ran]) -> list[Row]:
    documents = runs[0].documents
    columns = {"without services": pure.cpu_seconds, **{ran.name: ran.cpu_seconds for ran in runs}}
    names = dict.fromkeys(name for spent in columns.values() for name in sorted(spent))
    rows: list[Row] = [
        {"process": name, **{title: _per_document(spent.get(name), documents) for title, spent in columns.items()}}
        for name in names
    ]
    sums = {title: _per_document(sum(spent.values()), documents) for title, spent in columns.items()}
    return [*rows, {"process": "sum", **sums}]


def _per_document(seconds: float | None, documents: int) -> float | None:
    return None if seconds is None else seconds * MILLI / documents


def _recovery(one: Recovery) -> Row:
    return {
        "side": one.name,
        "open at the kill": one.left,
        "all indexed after, s": "> cap" if one.seconds is None else one.seconds,
        "of this their own work, s": one.work,
        "not indexed by then": one.lost,
    }


def _targets(pure: Pure, runs: Sequence[Ran]) -> list[Target]:
    """None where Celery did not run."""
    if len(runs) < 2:
        return []
    ours, baseline = (orchestration(ran, pure) for ran in runs)
    return [at_most("orchestration, CPU per document, over Celery's", ours / baseline, 0.5)]
