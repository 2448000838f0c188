"""The figures of an ingest run; README.md says what each of them means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.measure.processes import POOL, POSTGRES
from bench.measure.samples import spread
from bench.report.figures import Findings, Row, Section, Target, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.harness.upload import Uploaded
    from bench.ingest.idle import Singles
    from bench.ingest.pure import Pure

MILLI = 1000.0
MANY_CHUNKS = 20
"""From so many per document on, the work on chunks should hide the work on documents."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """``failed`` documents ended otherwise than searchable; ``cpu_seconds`` and ``pss_mb`` go by process."""

    uploaded: Sequence[Uploaded]
    failed: int
    chunks: int
    cpu_seconds: dict[str, float]
    pss_mb: dict[str, float] | None

    @property
    def begun(self) -> float:
        return min(document.begun for document in self.uploaded)

    @property
    def accepting_seconds(self) -> float:
        return max(document.accepted for document in self.uploaded) - self.begun

    @property
    def seconds(self) -> float:
        """From the first upload's begin until the last document is searchable."""
        return max(document.indexed for document in self.uploaded) - self.begun

    @property
    def orchestration_cpu_seconds(self) -> float:
        """Of everything but the pool, which does what would have to be done in any case."""
        return sum(seconds for name, seconds in self.cpu_seconds.items() if name != POOL)


def findings(corpus: str, concurrency: int, singles: Singles, bulk: Bulk, pure: Pure) -> Findings:
    documents = len(bulk.uploaded)
    net = (bulk.orchestration_cpu_seconds - pure.cpu_seconds["main"] - pure.cpu_seconds[POSTGRES]) / documents
    efficiency = pure.seconds / bulk.seconds
    sections = [
        Section("one document at a time, ms", _singles(singles)),
        Section(f"bulk: {corpus}, {concurrency} uploads at a time", _bulk(bulk, pure, efficiency)),
        Section("bulk, ms per document", _waits(bulk)),
        Section("CPU ms per document", _cpu(bulk, pure, net)),
        Section("PSS after the bulk run, MB", _memory(bulk.pss_mb)),
    ]
    return Findings(sections, _targets(singles, bulk, efficiency, net))


def _targets(singles: Singles, bulk: Bulk, efficiency: float, net: float) -> list[Target]:
    ways = spread(singles.ways)
    least = 0.75 if bulk.chunks >= MANY_CHUNKS * len(bulk.uploaded) else 0.6
    return [
        at_most("idle, upload to searchable, p50 ms", ways["p50"], 150),
        at_most("idle, upload to searchable, p95 ms", ways["p95"], 400),
        at_least("efficiency", efficiency, least),
        at_most("orchestration, CPU ms per document, net", net * MILLI, 15),
    ]


def _singles(singles: Singles) -> list[Row]:
    return [
        {"what": "POST", "documents": len(singles.posts), **spread(singles.posts)},
        {"what": "upload to searchable by both legs", "documents": len(singles.ways), **spread(singles.ways)},
    ]


def _bulk(bulk: Bulk, pure: Pure, efficiency: float) -> list[Row]:
    documents = len(bulk.uploaded)
    return [
        {"what": "documents", "stack": documents, "pure": documents},
        {"what": "of these failed", "stack": bulk.failed},
        {"what": "chunks", "stack": bulk.chunks, "pure": pure.chunks},
        {"what": "accepted per second", "stack": documents / bulk.accepting_seconds},
        {"what": "searchable per second", "stack": documents / bulk.seconds, "pure": documents / pure.seconds},
        {"what": "seconds", "stack": bulk.seconds, "pure": pure.seconds},
        {"what": "efficiency", "stack": efficiency},
    ]


def _waits(bulk: Bulk) -> list[Row]:
    posts = [(document.accepted - document.begun) * MILLI for document in bulk.uploaded]
    ways = [(document.indexed - document.begun) * MILLI for document in bulk.uploaded]
    return [
        {"what": "POST", **spread(posts)},
        {"what": "upload to searchable, waiting in the queue included", **spread(ways)},
    ]


def _cpu(bulk: Bulk, pure: Pure, net: float) -> list[Row]:
    documents = len(bulk.uploaded)
    names = dict.fromkeys((*sorted(bulk.cpu_seconds), *sorted(pure.cpu_seconds)))
    rows: list[Row] = [
        {
            "process": name,
            "stack": _per_document(bulk.cpu_seconds.get(name), documents),
            "pure": _per_document(pure.cpu_seconds.get(name), documents),
        }
        for name in names
    ]
    return [
        *rows,
        {
            "process": "sum",
            "stack": _per_document(sum(bulk.cpu_seconds.values()), documents),
            "pure": _per_document(sum(pure.cpu_seconds.values()), documents),
        },
        {"process": "orchestration, raw", "stack": _per_document(bulk.orchestration_cpu_seconds, documents)},
        {"process": "orchestration, net", "stack": net * MILLI},
    ]


def _per_document(seconds: float | None, documents: int) -> float | None:
    return None if seconds is None else seconds * MILLI / documents


def _memory(sizes: dict[str, float] | None) -> list[Row]:
    if sizes is None:
        return [{"process": "this system does not tell it"}]
    rows: list[Row] = [{"process": name, "MB": size} for name, size in sorted(sizes.items())]
    return [*rows, {"process": "sum", "MB": sum(sizes.values())}]
