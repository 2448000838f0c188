"""What stands encrypted in the database, and the keys that are made from the installation's secret."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from pydantic import SecretStr

from aperag_api.identity.apikeys.keys import KeyHasher, new_api_key
from aperag_common.auth.derived import derive
from aperag_common.auth.encrypted import ENCRYPTED
from aperag_common.auth.installation import InstallationSecret, SecretRefused
from aperag_common.auth.vault import Vault, VaultError
from aperag_common.db.models import Base

NOW, BEFORE, LONG_AGO = (SecretStr(letter * 32) for letter in "nbl")
HERE = "setting.value:token"


def test_what_is_encrypted_is_read_again_and_nowhere_in_the_token() -> None:
    vault = Vault.of(NOW)
    token = vault.encrypt("schlüssel 秘密", context=HERE)
    assert vault.decrypt(token, context=HERE) == "schlüssel 秘密"
    assert "schl" not in token
    assert token.isascii()


def test_the_same_text_is_never_the_same_token() -> None:
    vault = Vault.of(NOW)
    assert len({vault.encrypt("x", context=HERE) for _ in range(100)}) == 100


@pytest.mark.parametrize("text", ["", "x", "x" * 100_000])
def test_texts_of_any_length_come_back(text: str) -> None:
    vault = Vault.of(NOW)
    assert vault.decrypt(vault.encrypt(text, context=HERE), context=HERE) == text


def test_a_token_is_worth_nothing_in_another_place() -> None:
    vault = Vault.of(NOW)
    token = vault.encrypt("x", context=HERE)
    with pytest.raises(VaultError, match="not encrypted for setting.value:other"):
        vault.decrypt(token, context="setting.value:other")


def test_earlier_secrets_decrypt_and_the_present_one_encrypts() -> None:
    old = Vault.of(BEFORE).encrypt("x", context=HERE)
    vault = Vault.of(NOW, [BEFORE, LONG_AGO])
    assert vault.decrypt(old, context=HERE) == "x"
    assert not vault.is_current(old)
    new = vault.encrypt("x", context=HERE)
    assert vault.is_current(new)
    assert Vault.of(NOW).decrypt(new, context=HERE) == "x"


def test_a_secret_that_is_not_known_is_named_as_the_reason() -> None:
    token = Vault.of(BEFORE).encrypt("x", context=HERE)
    with pytest.raises(VaultError, match="APERAG_SECRET_KEY_PREVIOUS"):
        Vault.of(NOW).decrypt(token, context=HERE)


def test_a_change_of_any_byte_is_noticed() -> None:
    vault = Vault.of(NOW)
    version, key, sealed = vault.encrypt("geheim", context=HERE).split(".")
    held = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    for at in range(len(held)):
        changed = base64.urlsafe_b64encode(held[:at] + bytes([held[at] ^ 1]) + held[at + 1 :]).decode().rstrip("=")
        with pytest.raises(VaultError):
            vault.decrypt(f"{version}.{key}.{changed}", context=HERE)


@pytest.mark.parametrize(
    "token", ["", "x", "v1..", "v1.00000000.", "v1.00000000.AAAA", "v2.00000000.AAAA", "v1.0000000g.AA"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(VaultError):
        Vault.of(NOW).decrypt(token, context=HERE)


def test_neither_keys_nor_texts_show_in_a_representation_or_an_error() -> None:
    vault = Vault.of(SecretStr("n" * 32), [SecretStr("b" * 32)])
    assert "nnnn" not in repr(vault)
    assert "bbbb" not in repr(vault)
    with pytest.raises(VaultError) as caught:
        vault.decrypt(vault.encrypt("geheim", context=HERE), context="elsewhere")
    assert "geheim" not in str(caught.value)


def test_each_purpose_has_a_key_of_its_own_and_each_secret_too() -> None:
    purposes = ("aperag/vault", "aperag/vault-name", "aperag/api-key", "aperag/session", "aperag/login-throttle")
    keys = {derive(secret, purpose) for secret in (NOW, BEFORE) for purpose in purposes}
    assert len(keys) == 2 * len(purposes)
    assert all(len(key) == 32 for key in keys)


def test_keys_of_before_stay_valid_and_are_hashed_under_a_derived_key_from_now_on() -> None:
    key = new_api_key()
    of_first_release = hmac.new(NOW.get_secret_value().encode(), key.encode(), hashlib.sha256).hexdigest()
    hasher = KeyHasher.of(NOW)
    assert hasher.candidates(key) == (hasher.hash(key), of_first_release)
    assert hasher.hash(key) != of_first_release


def test_after_rotations_every_earlier_hash_is_a_candidate_and_the_present_one_the_first() -> None:
    key = new_api_key()
    hasher = KeyHasher.of(NOW, [BEFORE, LONG_AGO])
    assert hasher.candidates(key)[0] == KeyHasher.of(NOW).hash(key)
    for earlier in (BEFORE, LONG_AGO):
        assert set(KeyHasher.of(earlier).candidates(key)) < set(hasher.candidates(key))
    assert len(hasher.candidates(key)) == 6


@pytest.mark.parametrize(
    "value",
    [
        "",
        "short",
        "x" * 64,
        "changeme-changeme-changeme",
        "your-secret-key-here",
        "not-a-secret-not-a-secret",
        "<your secret key, please>",
        "super-secret-password",
        "0101010101010101",
    ],
)
def test_a_secret_that_everybody_can_guess_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(SecretRefused, match="openssl rand -hex 32") as caught:
        InstallationSecret.of(SecretStr(value))
    assert not value or value not in str(caught.value)


def test_without_a_secret_the_way_to_one_is_told() -> None:
    with pytest.raises(SecretRefused, match="APERAG_SECRET_KEY is not set"):
        InstallationSecret.of(None)


def test_a_drawn_secret_is_accepted_and_not_shown() -> None:
    drawn = "6f1c1b7d0a3e4f5a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a"
    secret = InstallationSecret.of(SecretStr(drawn), [SecretStr(""), SecretStr("short")])
    assert [it.get_secret_value() for it in secret.previous] == ["short"]
    assert drawn not in repr(secret)


def test_every_column_that_is_marked_encrypted_is_rotated_and_no_other() -> None:
    marked = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.info.get("encrypted")
    }
    assert {(place.table, place.column) for place in ENCRYPTED} == marked
    for place in ENCRYPTED:
        assert place.key in Base.metadata.tables[place.table].primary_key.columns


def test_contexts_name_the_place_and_the_row() -> None:
    assert {place.context("1", "f") for place in ENCRYPTED if place.inside} == {"collection.config.f:1"}
    assert {place.context("1") for place in ENCRYPTED if not place.inside} == {
        "invitation.token:1",
        "setting.value:1",
        "llm_provider.api_key:1",
        "webhook_endpoint.secret:1",
        "webhook_endpoint.previous_secret:1",
    }
