"""What the dashboard, the alerts and the guide say about metrics is true of the metrics that services have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from aperag_common.metrics import Metrics
from aperag_mcp.calls.measures import CallMetrics

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "observability"
GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

OF_PROMETHEUS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
TARGET_LABELS = {"job", "instance"}
ROW = re.compile(r"^\| `(?P<name>aperag_\w+)` \|(?P<labels>[^|]*)\| [^|]+ \|$", re.MULTILINE)
SELECTOR = re.compile(r"\b(aperag_\w+|process_\w+|up)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


def exposed() -> dict[str, set[str]]:
    """Labels of each series that a service can show, by its name."""
    shown = {**vars(Metrics("tests")), **vars(CallMetrics(CollectorRegistry()))}
    metrics = [it for it in shown.values() if isinstance(it, MetricWrapperBase)]
    found = {"aperag_service_info": {"service"}}
    for metric in metrics:
        labels = set(metric._labelnames)
        if isinstance(metric, Histogram):
            found |= {f"{metric._name}{end}": labels for end in ("", "_sum", "_count")}
            found[f"{metric._name}_bucket"] = labels | {"le"}
        else:
            found[f"{metric._name}_total" if isinstance(metric, Counter) else metric._name] = labels
    return found


EXPOSED = exposed()


def rules() -> list[dict[str, Any]]:
    return list(yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"])


def panels() -> list[dict[str, Any]]:
    board = json.loads((FOLDER / "grafana" / "dashboards" / "aperag.json").read_text(encoding="utf-8"))
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions() -> list[tuple[str, str]]:
    """(where, query) of all that is asked of Prometheus."""
    asked = [(rule["alert"], rule["expr"]) for rule in rules()]
    return asked + [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]


def wrong_with(query: str) -> list[str]:
    """Metrics and labels in ``query`` that no service has."""
    wrong: list[str] = []
    labels = set(TARGET_LABELS)
    for name, matchers in SELECTOR.findall(query):
        if name in OF_PROMETHEUS:
            continue
        if name not in EXPOSED:
            wrong.append(name)
            continue
        labels |= EXPOSED[name]
        wrong += [
            f"{name}{{{it}}}" for it in re.findall(r"(\w+)\s*[=!]", matchers) if it not in EXPOSED[name] | TARGET_LABELS
        ]
    grouped = [label.strip() for group in GROUPING.findall(query) for label in group.split(",")]
    return wrong + [f"by ({label})" for label in grouped if label not in labels]


@pytest.mark.parametrize(("where", "query"), expressions(), ids=lambda it: it.splitlines()[0][:60])
def test_a_query_names_only_what_services_show(where: str, query: str) -> None:
    assert wrong_with(query) == [], where


def test_a_query_that_names_something_else_is_noticed() -> None:
    query = 'sum by (kind, colour) (rate(aperag_attempts_total{shape="round"}[5m])) / aperag_nonsense'
    assert wrong_with(query) == ["aperag_attempts_total{shape}", "aperag_nonsense", "by (kind)", "by (colour)"]


def test_the_guide_lists_every_metric_with_its_labels_and_no_other() -> None:
    told = {row["name"]: set(re.findall(r"`(\w+)`", row["labels"])) for row in ROW.finditer(GUIDE)}
    shown = {name: labels for name, labels in EXPOSED.items() if not re.search(r"_(sum|count|bucket)$", name)}
    assert told == shown


def test_every_metric_has_the_prefix_and_says_its_unit() -> None:
    for metric in (it for it in vars(Metrics("tests")).values() if isinstance(it, MetricWrapperBase)):
        assert metric._name.startswith("aperag_")
        if isinstance(metric, Histogram):
            assert metric._name.endswith("_seconds")
        for unit in ("_ms", "_minutes", "_kb", "_mb"):
            assert not metric._name.endswith(unit)


@pytest.mark.parametrize("rule", rules(), ids=lambda it: it["alert"])
def test_an_alert_says_what_it_means_what_to_do_and_where_to_read_on(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    assert {"summary", "description", "action", "runbook"} == set(notes)
    assert all(notes.values())
    assert rule["labels"]["severity"] in {"page", "ticket"}
    page, _, anchor = notes["runbook"].partition("#")
    headings = [line.lstrip("#").strip() for line in GUIDE.splitlines() if line.startswith("#")]
    assert (page, rule["alert"] in headings) == ("docs/operations.md", True)
    assert anchor == rule["alert"].lower()


def test_every_alert_is_tested_and_the_guide_names_no_other() -> None:
    tests = yaml.safe_load((FOLDER / "alerts.test.yml").read_text(encoding="utf-8"))["tests"]
    quiet, *firing = [{check["alertname"] for check in test["alert_rule_test"]} for test in tests]
    names = {rule["alert"] for rule in rules()}
    assert quiet == set.union(*firing) == names
    assert set(re.findall(r"^### (Aperag\w+)$", GUIDE, re.MULTILINE)) == names


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")], ids=" ".join
)
def test_prometheus_accepts_the_rules_and_they_fire_when_they_should(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with the package prometheus")
    done = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_says_what_it_shows_and_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["description"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
