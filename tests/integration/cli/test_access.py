"""``aperag keys`` with limits, and ``aperag collections share``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Aperag


def test_a_key_may_be_limited_to_reading_to_collections_and_in_time(aperag: Aperag, collection: str) -> None:
    aperag.json("collections", "create", "Elsewhere")
    made = aperag.json("keys", "create", "--scope", "read", "--collection", collection, "--expires", "30d")
    assert (made["scope"], len(made["collection_ids"])) == ("read", 1)
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    key = {"APERAG_API_KEY": made["key"]}
    assert [it["id"] for it in aperag.json("collections", "list", **key)] == made["collection_ids"]
    refused = aperag("collections", "create", "Mine", **key)
    assert (refused.exit_code, "scope" in refused.stderr) == (Exit.NOT_AUTHORISED, True)
    listed = aperag("keys", "list").stdout
    assert made["collection_ids"][0] in listed
    assert made["expires_at"] in listed


def test_what_is_no_time_and_no_collection_makes_no_key(aperag: Aperag) -> None:
    before = aperag.json("keys", "list")
    for arguments, code in {
        ("--expires", "soon"): Exit.USAGE,
        ("--expires", "2020-01-01"): Exit.FAILED,
        ("--scope", "write"): Exit.USAGE,
        ("--collection", "col0000000000000000"): Exit.NOT_FOUND,
        ("--collection", "Nowhere"): Exit.NOT_FOUND,
    }.items():
        ended = aperag("keys", "create", *arguments)
        assert ended.exit_code == code, (arguments, ended.output)
    assert len(aperag.json("keys", "list")) == len(before)


def test_a_collection_is_shared_and_taken_back(aperag: Aperag, collection: str) -> None:
    assert aperag("collections", "share", collection).exit_code == Exit.USAGE, "nobody was asked"
    shared = aperag.json("collections", "share", collection, "--yes")
    assert (shared["is_published"], shared["published_at"] is not None) == (True, True)
    assert aperag.json("collections", "show", collection)["is_published"] is True
    assert aperag.json("collections", "unshare", collection)["is_published"] is False
    assert aperag("collections", "unshare", collection).exit_code == Exit.OK
