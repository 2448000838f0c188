"""The AsyncAPI document is valid, says what the code does, and keeps what it has promised."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from aperag_common import subjects
from aperag_common.asyncapi import channels
from aperag_common.asyncapi.breaking import breaking
from aperag_common.asyncapi.channels import Action, Channel, Form, Group
from aperag_common.asyncapi.declared import IngestEvent
from aperag_common.asyncapi.document import document
from aperag_common.events import facts
from aperag_common.jobs.kind import kinds

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "tests" / "asyncapi" / "asyncapi-3.0.0.json"
GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = document()
OUTSIDE = {name: it for name, it in DOCUMENT["channels"].items() if not it.get("x-internal")}


def invalid(described: dict[str, Any]) -> list[str]:
    validator = Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    return [error.message for error in validator.iter_errors(described)]


def test_the_document_is_valid() -> None:
    assert invalid(DOCUMENT) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: it["operations"]["ingest"].pop("action"),
        lambda it: it["operations"]["ingest"].update(action="publish"),
        lambda it: it["channels"]["ingest"].update(address=7),
        lambda it: it["components"].update(messages=[]),
        lambda it: it["servers"]["nats"].pop("host"),
        lambda it: it.update(asyncapi="2.6.0"),
    ],
)
def test_a_spoilt_document_is_not(spoil: Callable[[dict[str, Any]], object]) -> None:
    spoilt = copy.deepcopy(DOCUMENT)
    spoil(spoilt)
    assert invalid(spoilt)


def test_every_reference_leads_somewhere() -> None:
    def lost(part: Any) -> list[str]:
        if isinstance(part, list):
            return [ref for it in part for ref in lost(it)]
        if not isinstance(part, dict):
            return []
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) and not leads(part["$ref"]) else []
        return [*own, *(ref for it in part.values() for ref in lost(it))]

    def leads(ref: str) -> bool:
        found: Any = DOCUMENT
        for token in ref.removeprefix("#/").split("/"):
            if token not in found:
                return False
            found = found[token]
        return True

    assert lost(DOCUMENT) == []


def test_what_others_may_use_comes_first() -> None:
    marks = [bool(it.get("x-internal")) for it in DOCUMENT["channels"].values()]
    assert marks == sorted(marks)
    assert next(it["tags"][0]["name"] for it in OUTSIDE.values()) == Group.EVENTS
    inside = {it["address"] for it in DOCUMENT["channels"].values() if it.get("x-internal")}
    assert {work.subject for kind in kinds() for work in kind.works} <= inside
    assert not any(str(it["address"]).startswith("aperag.cmd.") for it in OUTSIDE.values())


@pytest.mark.parametrize("fact", facts.FACTS, ids=lambda fact: fact.type_name)
def test_a_fact_is_described_as_it_is_published(fact: type[facts.Fact]) -> None:
    channel = OUTSIDE[fact.type_name]
    assert channel["address"] == subjects.events_of_type(fact.type_name).replace("*", "{owner}")
    assert channel["description"]
    [message] = channel["messages"]
    payload = DOCUMENT["components"]["messages"][message]["payload"]
    told = json.loads((GOLDEN / f"{fact.__name__}.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator({**payload, "components": DOCUMENT["components"]})
    assert [error.message for error in validator.iter_errors(told)] == []
    told["type"] = "another.type"
    assert not validator.is_valid(told)


@pytest.mark.parametrize("fact", facts.FACTS, ids=lambda fact: fact.type_name)
def test_a_fact_and_its_data_say_what_they_are(fact: type[facts.Fact]) -> None:
    """Their own docstrings: one that is inherited describes something else."""
    data = fact.model_fields["data"].annotation
    assert data is not None
    assert vars(fact)["__doc__"]
    assert vars(data)["__doc__"]


def test_a_channel_that_is_registered_is_in_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_registered", dict(channels._registered))
    form = Form("toy", (IngestEvent,), "A toy.")
    toy = Channel("toy", Group.INGEST, Action.RECEIVE, "aperag.toy", "Toys", "For a test.", (form,))
    channels.register(toy)
    channels.register(toy)
    made = document.__wrapped__()
    assert made["channels"]["toy"]["address"] == "aperag.toy"
    assert made["operations"]["toy"]["action"] == "receive"
    assert invalid(made) == []
    assert breaking(DOCUMENT, made) == []
    assert breaking(made, DOCUMENT) == ["channel toy is gone", "operation toy is gone", "message toy is gone"]
    with pytest.raises(ValueError, match="two channels are called toy"):
        channels.register(Channel("toy", Group.INGEST, Action.SEND, "aperag.toy", "Toys", "For a test.", (form,)))


@pytest.mark.parametrize(("options", "code"), [((), 1), (("--check",), 1), (("--breaking",), 0)])
def test_a_breaking_change_is_refused_unless_it_is_meant(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    promised = copy.deepcopy(DOCUMENT)
    promised["components"]["schemas"]["DocumentData"]["properties"]["colour"] = {"type": "string"}
    page = tmp_path / "asyncapi.json"
    page.write_text(json.dumps(promised), encoding="utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "messages.py"), "--target", str(page), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == code
    if code:
        assert "document.indexed.data.colour is gone" in done.stderr
        assert json.loads(page.read_text(encoding="utf-8")) == promised
    else:
        assert json.loads(page.read_text(encoding="utf-8")) == DOCUMENT


def test_an_addition_only_needs_the_page_written_anew(tmp_path: Path) -> None:
    promised = copy.deepcopy(DOCUMENT)
    del promised["channels"]["turn.failed"], promised["operations"]["turn.failed"]
    page = tmp_path / "asyncapi.json"
    page.write_text(json.dumps(promised), encoding="utf-8")
    command = [sys.executable, str(ROOT / "scripts" / "messages.py"), "--target", str(page)]
    assert subprocess.run([*command, "--check"], capture_output=True, check=False, cwd=ROOT).returncode == 1
    assert subprocess.run(command, capture_output=True, check=False, cwd=ROOT).returncode == 0
    assert json.loads(page.read_text(encoding="utf-8")) == DOCUMENT
