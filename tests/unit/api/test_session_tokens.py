"""Session tokens: read where they were signed, under this secret or one before it, and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from pydantic import SecretStr

from aperag_api.identity.sessions.tokens import AUDIENCE, PURPOSE, SessionName, SessionTokens
from aperag_common.auth.derived import derive
from aperag_common.auth.installation import SecretRefused

OLD, NEW = SecretStr("an old secret of this installation"), SecretStr("a new secret of this installation")
NAME = SessionName("f" * 32, "user0123456789abcdef")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def signed(secret: SecretStr) -> str:
    return SessionTokens.of(secret).sign(NAME, issued=NOW, expires=NOW)


def test_a_token_is_read_as_it_was_signed() -> None:
    assert SessionTokens.of(NEW).read(signed(NEW)) == NAME


def test_a_secret_for_sessions_alone_signs_and_reads_them_as_it_is() -> None:
    own = SecretStr("7f3c91" * 6)
    tokens = SessionTokens.of(NEW, (OLD,), own=own)
    token = tokens.sign(NAME, issued=NOW, expires=NOW)
    assert tokens.read(token) == NAME
    assert jwt.decode(token, OctKey.import_key(own.get_secret_value())).claims["jti"] == NAME.session_id
    assert SessionTokens.of(NEW, (OLD,)).read(token) is None
    assert tokens.read(signed(NEW)) is tokens.read(signed(OLD)) is None


def test_an_empty_one_is_none() -> None:
    assert SessionTokens.of(NEW, own=SecretStr("")).read(signed(NEW)) == NAME


@pytest.mark.parametrize(
    "own", ["SECRET", "0123456789abcdef" + "0123456789abcde", "a" * 32, "my-super-secret-jwt-secret-please-change"]
)
def test_one_that_can_be_guessed_is_refused_by_its_name(own: str) -> None:
    with pytest.raises(SecretRefused, match="JWT_SECRET") as refused:
        SessionTokens.of(NEW, own=SecretStr(own))
    assert own not in str(refused.value).replace("JWT_SECRET", "")


def test_a_token_of_before_a_rotation_is_read_and_none_is_signed_so_again() -> None:
    tokens = SessionTokens.of(NEW, (OLD,))
    assert tokens.read(signed(OLD)) == NAME
    assert SessionTokens.of(OLD).read(tokens.sign(NAME, issued=NOW, expires=NOW)) is None
    assert SessionTokens.of(NEW).read(signed(OLD)) is None


def test_keys_of_other_purposes_sign_no_session() -> None:
    for key in (NEW.get_secret_value().encode(), derive(NEW, "aperag/vault"), derive(NEW, "aperag/api-key")):
        claims = {"sub": NAME.user_id, "jti": NAME.session_id, "aud": AUDIENCE}
        token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(key))
        assert SessionTokens.of(NEW).read(token) is None


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "u", "jti": "s"},
        {"sub": "u", "jti": "s", "aud": "another"},
        {"sub": "u", "aud": AUDIENCE},
        {"jti": "s", "aud": AUDIENCE},
        {"sub": 1, "jti": "s", "aud": AUDIENCE},
        {"sub": "u", "jti": ["s"], "aud": AUDIENCE},
    ],
)
def test_a_token_that_names_no_session_is_none(claims: dict[str, object]) -> None:
    token = jwt.encode({"alg": "HS256"}, dict(claims), OctKey.import_key(derive(NEW, PURPOSE)))
    assert SessionTokens.of(NEW).read(token) is None


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "é.é.é", "\0", "sk-" + "0" * 32, "x" * 100_000])
def test_what_is_no_token_is_none(text: str) -> None:
    assert SessionTokens.of(NEW).read(text) is None


def test_secrets_show_in_no_rendering() -> None:
    assert derive(NEW, PURPOSE).hex() not in repr(SessionTokens.of(NEW))
