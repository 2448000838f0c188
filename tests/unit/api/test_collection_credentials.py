"""Credentials of a collection's source: what is kept of a request, and what is shown of that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from aperag_api.knowledge.collections import credentials
from aperag_api.knowledge.collections.credentials import FIELDS, MASK
from aperag_api.knowledge.collections.schemas import CollectionConfig
from aperag_common import errors
from aperag_common.auth.encrypted import COLLECTION_CREDENTIALS
from aperag_common.auth.vault import Vault

VAULT = Vault.of(SecretStr("n" * 32))


def stored(given: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    return credentials.stored(CollectionConfig.model_validate(given), before or {}, VAULT, "col1")


def opened(config: dict[str, Any]) -> dict[str, str]:
    return {
        name: VAULT.decrypt(token, context=COLLECTION_CREDENTIALS.context("col1", name))
        for name, token in config.get("credentials", {}).items()
    }


def test_every_credential_of_the_contract_is_known_as_one() -> None:
    assert set(FIELDS) == {"password", "access_key_id", "secret_access_key", "email_password", "app_secret"}


@pytest.mark.parametrize("name", FIELDS)
def test_a_credential_stands_nowhere_in_clear(name: str) -> None:
    config = stored({name: "geheim-marke", "username": "anna"})
    assert "geheim-marke" not in json.dumps(config)
    assert opened(config) == {name: "geheim-marke"}
    assert config["username"] == "anna"
    assert "geheim-marke" not in repr(CollectionConfig.model_validate({name: "geheim-marke"}))


@pytest.mark.parametrize("name", FIELDS)
def test_its_owner_sees_that_there_is_one_and_no_more(name: str) -> None:
    shown = credentials.shown(stored({name: "geheim-marke"})).model_dump()
    assert shown[name] == MASK
    assert [shown[other] for other in FIELDS if other != name] == [None] * (len(FIELDS) - 1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"password": "old"}),
        ({"password": None}, {"password": "old"}),
        ({"password": MASK}, {"password": "old"}),
        ({"password": "new"}, {"password": "new"}),
        ({"password": ""}, {}),
        ({"app_secret": "more"}, {"password": "old", "app_secret": "more"}),
    ],
)
def test_a_change_keeps_what_it_does_not_name(given: dict[str, Any], expected: dict[str, str]) -> None:
    assert opened(stored(given, stored({"password": "old"}))) == expected


def test_a_mask_without_anything_behind_it_keeps_nothing() -> None:
    assert "credentials" not in stored({"password": MASK})


def test_a_client_cannot_bring_in_tokens_of_its_own() -> None:
    assert "credentials" not in stored({"credentials": {"password": "v1.00000000.AAAA"}})


def test_what_was_stored_is_still_a_configuration_for_everybody_else() -> None:
    config = CollectionConfig.model_validate(stored({"password": "x", "enable_vector": False}))
    assert config.password is None
    assert config.enable_vector is False


@pytest.mark.parametrize(
    "given", [{"host": "evil.example"}, {"host": "evil.example", "password": MASK}, {"port": 8022}]
)
def test_a_credential_does_not_follow_its_source_to_another_place(given: dict[str, Any]) -> None:
    before = stored({"host": "files.example", "port": 22, "password": "geheim"})
    with pytest.raises(errors.InvalidSourceConfig, match="send password again"):
        stored({"host": "files.example", "port": 22} | given, before)
    without_place = stored({}, before)
    with pytest.raises(errors.InvalidSourceConfig):
        stored(given, without_place)
    assert opened(stored(given | {"password": "new"}, before)) == {"password": "new"}
    assert opened(stored({"host": "files.example", "path": "/b"}, before)) == {"password": "geheim"}
