"""The figures of events of another service."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime

from bench.outside.findings import Flood, Measured, Webhooks, findings
from bench.outside.receiver import Receiver
from standardwebhooks import Webhook

from aperag_testing.chaos.finding import Finding, Wrong
from aperag_testing.chaos.plan import Fault
from aperag_testing.site import Asked

CALM = Flood(100.0, 0, [], at_rest=True)
WEBHOOKS = Webhooks([0.04], delivered=1, repeated=1, broken=[])
MEASURED = Measured([0.1, 0.1], [0.11, 0.11], 200, CALM, replace(CALM, repeated=3), [Fault(1, "nats")], WEBHOOKS)


def test_a_run_is_held_against_its_targets() -> None:
    found = findings(MEASURED)
    assert not found.failed
    assert {target.name: target.met for target in found.targets} == dict.fromkeys(
        (*("lost", "duplicated", "orphaned", "stuck"), *("event beyond upload, p50 ms", "event to webhook, p50 ms")),
        True,
    )
    sections = {section.title: section.rows for section in found.sections}
    assert sections["webhooks"] == [{"p50 ms": 40.0, "p95 ms": 40.0, "delivered": 1, "repeated": 1}]
    assert sections["killed"] == [{"process": "nats", "times": 1}]


def test_a_slow_event_a_broken_promise_and_unrest_are_told() -> None:
    slow = findings(replace(MEASURED, events=[0.2]))
    assert [target.name for target in slow.targets if not target.met] == ["event beyond upload, p50 ms"]
    broken = replace(CALM, broken=[Finding(Wrong.LOST, "it is gone", "event-1")])
    assert findings(replace(MEASURED, hurt=broken)).failed
    assert findings(replace(MEASURED, calm=replace(CALM, at_rest=False))).failed


def test_a_webhook_that_came_twice_under_one_id_is_no_broken_promise() -> None:
    receiver = Receiver()
    event = {"id": "e1", "time": "1970-01-01T00:00:10+00:00"}
    receiver.take("w1", event, now=10.5)
    receiver.take("w1", event, now=12.0)
    assert (receiver.seconds, receiver.under_two_ids) == ({"e1": 0.5}, [])
    receiver.take("w2", event, now=13.0)
    assert receiver.under_two_ids == ["e1"]
    broken = [Finding(Wrong.DUPLICATED, "two ids", "e1")]
    assert findings(replace(MEASURED, webhooks=replace(WEBHOOKS, broken=broken))).failed


def test_what_is_not_signed_with_the_secret_is_not_believed() -> None:
    at = datetime.now(UTC)
    body = '{"id": "e1"}'

    def asked(secret: str) -> Asked:
        headers = {"webhook-id": "w1", "webhook-timestamp": str(int(at.timestamp()))}
        return Asked("POST", "/hook", {**headers, "webhook-signature": Webhook(secret).sign("w1", at, body)}, body)

    mine, others = ("whsec_" + b64encode(it * 24).decode() for it in (b"a", b"b"))
    receiver = Receiver()
    assert not receiver.verifies(asked(mine))  # the secret is not known yet
    receiver.secret = mine
    assert receiver.verifies(asked(mine))
    assert not receiver.verifies(asked(others))
    assert receiver.unsigned == ["w1", "w1"]
