"""What Prometheus reads."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aperag_common.metrics import Metrics


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(metrics.render().decode()):
        for each in family.samples:
            if each.name == name and each.labels == labels:
                return each.value
    return None


def test_two_services_in_one_process_do_not_share_counts() -> None:
    one, other = Metrics("indexer"), Metrics("indexer")
    one.attempts.labels("indexer-parse", "done").inc()
    assert sample(one, "aperag_attempts_total", consumer="indexer-parse", outcome="done") == 1
    assert sample(other, "aperag_attempts_total", consumer="indexer-parse", outcome="done") is None


def test_a_scrape_says_which_service_answered() -> None:
    assert sample(Metrics("reconciler"), "aperag_service_info", service="reconciler") == 1


@pytest.mark.parametrize(
    "name",
    [
        "aperag_permission_violations_total",
        "aperag_oldest_due_age_seconds",
        "aperag_outbox_unrelayed_events",
        "aperag_dropped_spans",
        "aperag_upload_to_searchable_seconds_count",
        "aperag_relay_latency_seconds_count",
    ],
)
def test_what_has_not_happened_yet_reads_zero(name: str) -> None:
    assert sample(Metrics("indexer"), name) == 0


def test_every_series_of_ours_carries_the_prefix_and_help() -> None:
    families = list(text_string_to_metric_families(Metrics("indexer").render().decode()))
    ours = [family for family in families if not family.name.startswith("process_")]
    assert len(ours) > 10
    assert all(family.name.startswith("aperag_") and family.documentation for family in ours)
