"""The figures of an ingest run, from times and CPU that were made up."""

from __future__ import annotations

import pytest
from bench.harness.upload import Uploaded
from bench.ingest.findings import Bulk, findings
from bench.ingest.idle import Singles
from bench.ingest.pure import Pure
from bench.measure.processes import cpu_between
from bench.report.figures import Findings

SINGLES = Singles([10.0, 20.0, 30.0], [100.0, 120.0, 140.0])
PURE = Pure(seconds=6.0, chunks=6, cpu_seconds={"main": 0.02, "pool": 0.5, "postgres": 0.01})
CPU = {"api": 0.05, "indexer": 0.10, "postgres": 0.03, "pool": 0.6}


def bulk(chunks: int) -> Bulk:
    """Two documents: the first upload begins at 100 s, the last is accepted at 102 s and searchable at 108 s."""
    first = Uploaded("doc1", "SUCCESS", begun=100.0, accepted=101.0, indexed=104.0)
    second = Uploaded("doc2", "SUCCESS", begun=101.0, accepted=102.0, indexed=108.0)
    return Bulk([second, first], 0, chunks, CPU, {"api": 200.0, "pool": 300.0})


def figures(found: Findings, title: str) -> dict[object, object]:
    """The column of the stack, by the first column."""
    (section,) = (section for section in found.sections if section.title.startswith(title))
    key, value = section.columns[:2]
    return {row[key]: row.get(value) for row in section.rows}


def test_rates_and_efficiency_count_from_the_first_upload_to_the_last_document() -> None:
    found = figures(findings("made up", 8, SINGLES, bulk(6), PURE), "bulk: made up")
    assert found["accepted per second"] == pytest.approx(2 / 2)
    assert found["searchable per second"] == pytest.approx(2 / 8)
    assert found["efficiency"] == pytest.approx(6 / 8)


def test_orchestration_is_what_the_same_work_without_services_does_not_cost() -> None:
    found = figures(findings("made up", 8, SINGLES, bulk(6), PURE), "CPU ms per document")
    assert found["orchestration, raw"] == pytest.approx((50 + 100 + 30) / 2)
    assert found["orchestration, net"] == pytest.approx((180 - 20 - 10) / 2)
    assert found["sum"] == pytest.approx(780 / 2)


def test_the_wait_of_each_document_begins_with_its_own_upload() -> None:
    (section,) = (s for s in findings("x", 8, SINGLES, bulk(6), PURE).sections if s.title.startswith("bulk, ms"))
    posts, ways = section.rows
    assert posts["p50"] == pytest.approx(1000.0)
    assert ways["max"] == pytest.approx(7000.0)
    assert ways["p50"] == pytest.approx(5500.0)


@pytest.mark.parametrize(("chunks", "least"), [(39, 0.6), (40, 0.75)])
def test_documents_of_many_chunks_have_the_higher_target(chunks: int, least: float) -> None:
    (target,) = (t for t in findings("x", 8, SINGLES, bulk(chunks), PURE).targets if t.name == "efficiency")
    assert target.limit == least


def test_memory_that_the_system_does_not_tell_is_said_in_a_word() -> None:
    blind = Bulk(bulk(6).uploaded, 0, 6, CPU, None)
    (section,) = (s for s in findings("x", 8, SINGLES, blind, PURE).sections if s.title.startswith("PSS"))
    assert section.rows == [{"process": "this system does not tell it"}]


def test_cpu_of_a_process_that_came_later_counts_whole() -> None:
    assert cpu_between({"api": 1.0}, {"api": 1.5, "pool": 0.25}) == {"api": 0.5, "pool": 0.25}
