"""What a key may do at NATS, as a table; and that its token says it."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nkeys
import pytest

from aperag_api.identity.outsiders.claims import Question, Signer
from aperag_api.identity.outsiders.decide import permissions_of
from aperag_api.kernel.auth import Caller, Credential, CredentialKind, Role, Scope
from aperag_common.bus.permissions import Permissions
from aperag_standalone.nats import make_issuer, public_key

if TYPE_CHECKING:
    from collections.abc import Iterable

PULLS = (
    "$JS.API.CONSUMER.MSG.NEXT.APERAG_EVENTS.sub-es1",
    "$JS.API.CONSUMER.INFO.APERAG_EVENTS.sub-es1",
    "$JS.ACK.APERAG_EVENTS.sub-es1.>",
)


def caller(role: Role = Role.RW, scope: Scope = Scope.ALL, collections: Iterable[str] | None = None) -> Caller:
    reach = None if collections is None else frozenset(collections)
    return Caller("u1", "alice", role, Credential(CredentialKind.API_KEY, "key1"), scope, reach)


@pytest.mark.parametrize(
    ("who", "publish", "subscribe"),
    [
        (caller(), ("aperag.ingest.u1.*", *PULLS), ("_INBOX_key1.>", "aperag.evt.u1.>")),
        (caller(Role.ADMIN), ("aperag.ingest.u1.*", *PULLS), ("_INBOX_key1.>", "aperag.evt.>")),
        (caller(Role.RO), PULLS, ("_INBOX_key1.>", "aperag.evt.u1.>")),
        (caller(Role.RO, Scope.READ), PULLS, ("_INBOX_key1.>", "aperag.evt.u1.>")),
        (caller(collections=("c2", "c1")), ("aperag.ingest.u1.c1", "aperag.ingest.u1.c2"), ("_INBOX_key1.>",)),
        (caller(Role.RO, Scope.READ, ("c1",)), (), ("_INBOX_key1.>",)),
    ],
)
def test_permissions_follow_the_key(who: Caller, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> None:
    assert permissions_of(who, ["es1"]) == Permissions(publish, subscribe)


@pytest.mark.parametrize("bad", ["*", ">", "a.b", ""])
def test_what_is_no_token_becomes_no_permission(bad: str) -> None:
    with pytest.raises(ValueError, match="not a subject token"):
        permissions_of(caller(collections=(bad,)), [])


QUESTION = Question("NSERVER", "UCLIENT", "sk-x", "127.0.0.1", "python3 2.16", time.time() + 2)


def told(token: bytes | str) -> dict[str, Any]:
    body = (token if isinstance(token, bytes) else token.encode()).split(b".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + b"=="))
    return claims


def test_the_answer_is_signed_and_for_this_client_and_server_alone(tmp_path: Path) -> None:
    seed = make_issuer(tmp_path)
    until = datetime(2030, 1, 1, tzinfo=UTC)
    answer = Signer(seed).let_in(QUESTION, "key1", Permissions(("a",), ("b",)), until)
    outer = told(answer)
    assert (outer["iss"], outer["sub"], outer["aud"]) == (public_key(seed), "UCLIENT", "NSERVER")
    user = told(outer["nats"]["jwt"])
    assert (user["iss"], user["sub"], user["aud"]) == (public_key(seed), "UCLIENT", "OUTSIDE")
    assert (user["name"], user["exp"]) == ("key1", int(until.timestamp()))
    assert user["nats"]["pub"] == {"allow": ["a"]}
    assert user["nats"]["sub"] == {"allow": ["b"]}
    for token in (answer, outer["nats"]["jwt"].encode()):
        body, _, signature = token.rpartition(b".")
        pair = nkeys.from_seed(seed.read_bytes().strip())
        assert pair.verify(body, base64.urlsafe_b64decode(signature + b"=="))


def test_nothing_allowed_means_everything_denied(tmp_path: Path) -> None:
    answer = Signer(make_issuer(tmp_path)).let_in(QUESTION, "key1", Permissions((), ("b",)), None)
    user = told(told(answer)["nats"]["jwt"])
    assert user["nats"]["pub"] == {"deny": [">"]}
    assert "exp" not in user


@pytest.mark.parametrize("junk", [b"", b"x", b"a.b.c", b"a.e30.c", b"a.W10.c", b"a.eyJuYXRzIjoxfQ.c", b"\xff.\xff"])
def test_what_is_no_question_is_refused(junk: bytes) -> None:
    with pytest.raises(ValueError):
        Question.read(junk)


def test_a_question_keeps_no_key_in_what_is_logged() -> None:
    asked = {
        "exp": 1,
        "nats": {
            "server_id": {"id": "N"},
            "user_nkey": "U",
            "client_info": {"host": "10.0.0.1"},
            "connect_opts": {"pass": " sk-" + "0" * 32 + " ", "name": "sk-" + "1" * 32, "lang": "go"},
        },
    }
    body = base64.urlsafe_b64encode(json.dumps(asked).encode()).rstrip(b"=")
    question = Question.read(b"h." + body + b".s")
    assert question.credential == "sk-" + "0" * 32
    assert question.client == "*** go"
