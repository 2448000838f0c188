"""API keys and their hashes."""

from __future__ import annotations

import re

import pytest
from pydantic import SecretStr

from aperag_api.identity.apikeys.keys import KeyHasher, is_api_key, mask, new_api_key


def test_a_key_has_the_contracts_form_and_is_never_the_same() -> None:
    keys = {new_api_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"sk-[0-9a-f]{32}", key) and is_api_key(key) for key in keys)


@pytest.mark.parametrize(
    "value", ["", "sk-", "sk-" + "g" * 32, "sk-" + "a" * 33, "sk-" + "a" * 32 + "\n", "pk-" + "a" * 32]
)
def test_other_values_are_no_keys(value: str) -> None:
    assert not is_api_key(value)


def test_a_hash_needs_the_secret_and_tells_nothing_of_the_key() -> None:
    key = "sk-" + "0123456789abcdef" * 2
    one, other = KeyHasher.of(SecretStr("s" * 16)), KeyHasher.of(SecretStr("t" * 16))
    assert one.hash(key) == one.hash(key) != other.hash(key)
    assert len(one.hash(key)) == 64
    assert "secret" not in repr(one)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        KeyHasher.of(SecretStr("short"))


def test_a_mask_fits_its_column_and_hides_most() -> None:
    masked = mask("sk-" + "0123456789abcdef" * 2)
    assert masked == "sk-0123****cdef"
    assert len(masked) <= 24
