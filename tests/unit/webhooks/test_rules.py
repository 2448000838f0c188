"""Which event goes where, what an answer means, how a request is signed: tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from aperag_common import ids
from aperag_common.events.filters import matches, unknown
from aperag_webhooks.sending.decide import Attempt, Verdict, failure_of, judge, snippet
from aperag_webhooks.sending.signing import headers
from aperag_work.delivery_rules import CLOCKS, EventToSend, Subscribed, fan_out

NOW = datetime(2026, 11, 30, 10, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        ([], True),
        (None, True),
        (["document.indexed"], True),
        (["document.*"], True),
        (["index.*", "document.indexed"], True),
        (["document.index"], False),
        (["doc.*"], False),
        (["document"], False),
        (["*"], False),
        (["index.*"], False),
    ],
)
def test_types_are_exact_or_of_a_whole_aggregate(types: list[str] | None, *, wanted: bool) -> None:
    assert matches(types, "document.indexed") is wanted


def test_a_type_that_no_event_has_is_known_as_such() -> None:
    assert unknown(["document.*", "document.indexed", "document.gone", "webhook.disabled", "*"]) == [
        "document.gone",
        "*",
    ]


def event(**values: Any) -> EventToSend:
    given: dict[str, Any] = {
        "id": "e1",
        "type": "document.indexed",
        "owner": "u1",
        "time": NOW,
        "data": {},
        "payload": "{}",
    }
    return EventToSend(**{**given, **values})


ENVELOPE = {"id": "e1", "source": "api", "type": "document.indexed", "subject": "d1", "owner": "u1", "data": {}}


@pytest.mark.parametrize(
    "odd",
    [
        {"time": "2026-11-30T10:00:00"},
        {"id": "e" * 65},
        {"type": "t" * 65},
        {"id": "e\0"},
        {"data": {"collection_id": "c\0"}},
        {"data": {"collection_id": "c" * 25}},
        {"time": None},
    ],
)
def test_what_the_database_would_refuse_for_ever_is_no_event(odd: dict[str, Any]) -> None:
    """The attack: one service is taken over, and its events hold up the deliveries of everybody."""
    good = {**ENVELOPE, "time": NOW.isoformat()}
    assert EventToSend.parse(json.dumps(good)).time == NOW
    with pytest.raises(ValueError):
        EventToSend.parse(json.dumps(good | odd))


def endpoint(**values: Any) -> Subscribed:
    given: dict[str, Any] = {"id": "wh1", "owner": "u1", "types": [], "collection_ids": None, "created": NOW}
    return Subscribed(**{**given, **values})


@pytest.mark.parametrize(
    ("happened", "registered", "sent"),
    [
        ({}, {}, True),
        ({"owner": "u2"}, {}, False),
        ({"type": "webhook.disabled"}, {}, False),
        ({"type": "webhook.disabled"}, {"types": ["webhook.*"]}, False),
        ({"type": "step.dead_lettered", "data": {"consumer": "webhooks-deliver"}}, {}, False),
        ({"type": "step.dead_lettered", "data": {"consumer": "indexer-parse"}}, {}, True),
        ({"data": {"collection_id": "c1"}}, {"collection_ids": ["c1"]}, True),
        ({"data": {"collection_id": "c2"}}, {"collection_ids": ["c1"]}, False),
        ({"data": {"collection_id": ["c1"]}}, {"collection_ids": ["c1"]}, False),
        ({}, {"collection_ids": ["c1"]}, False),
        ({}, {"created": NOW + CLOCKS}, True),
        ({}, {"created": NOW + CLOCKS + timedelta(milliseconds=1)}, False),
    ],
)
def test_an_endpoint_is_sent_what_its_filters_let_through(
    happened: dict[str, Any], registered: dict[str, Any], *, sent: bool
) -> None:
    assert len(fan_out([event(**happened)], [endpoint(**registered)])) == int(sent)


def test_an_event_that_comes_twice_in_a_batch_makes_one_delivery_for_each_endpoint() -> None:
    made = fan_out([event(), event()], [endpoint(), endpoint(id="wh2")])
    assert [it.id for it in made] == [ids.delivery_id("wh1", "e1"), ids.delivery_id("wh2", "e1")]
    assert len({it.id for it in made}) == 2
    assert all(len(it.id) <= 24 for it in made)


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, None), (204, None), (299, None), (199, "RECEIVER_FAILED"), (300, "REDIRECTED"), (308, "REDIRECTED"),
     (400, "RECEIVER_FAILED"), (410, "RECEIVER_GONE"), (429, "RECEIVER_FAILED"), (500, "RECEIVER_FAILED")],
)  # fmt: skip
def test_only_2xx_is_a_success(status: int, code: str | None) -> None:
    failure = failure_of(status)
    assert (None if failure is None else failure[0]) == code


@pytest.mark.parametrize(
    ("status", "code", "last", "too_long", "verdict"),
    [
        (200, None, False, False, Verdict.DELIVERED),
        (200, None, True, True, Verdict.DELIVERED),
        (500, "RECEIVER_FAILED", False, False, Verdict.RETRY),
        (None, "TIMEOUT", False, False, Verdict.RETRY),
        (500, "RECEIVER_FAILED", True, False, Verdict.GIVE_UP),
        (410, "RECEIVER_GONE", False, False, Verdict.DISABLE_GONE),
        (500, "RECEIVER_FAILED", False, True, Verdict.DISABLE_FAILING),
        (500, "RECEIVER_FAILED", True, True, Verdict.DISABLE_FAILING),
    ],
)
def test_what_becomes_of_a_delivery(
    status: int | None, code: str | None, verdict: Verdict, *, last: bool, too_long: bool
) -> None:
    assert judge(Attempt(1, NOW, 0.1, status, code), last=last, failing_too_long=too_long) is verdict


def test_a_snippet_is_what_postgresql_can_keep() -> None:
    assert snippet(b"tea\x00\xff\xc3") == "tea\ufffd\ufffd\ufffd"


def test_a_request_bears_a_signature_for_each_secret() -> None:
    other = "whsec_" + "B" * 32
    at = datetime.now(UTC)
    made = headers("whd1", at, '{"차": 1}', [SECRET, other])
    for secret in (SECRET, other):
        assert Webhook(secret).verify('{"차": 1}', dict(made)) == {"차": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify('{"차": 2}', dict(made))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "C" * 32).verify('{"차": 1}', dict(made))
