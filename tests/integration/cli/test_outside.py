"""``aperag subscriptions`` and ``aperag nats context``."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import nats
import pytest

from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.conftest import Aperag


def test_a_subscription_is_made_shown_and_deleted(aperag: Aperag) -> None:
    # Types that no other test of this stack causes meanwhile.
    made = aperag.json("subscriptions", "create", "warehouse", "--type", "document.expired", "--type", "webhook.*")
    assert (made["types"], made["consumer"]) == (["document.expired", "webhook.*"], f"sub-{made['id']}")
    assert [it["id"] for it in aperag.json("subscriptions", "list")] == [made["id"]]
    shown = aperag.json("subscriptions", "info", "warehouse")
    assert (shown["id"], shown["pending"], shown["ack_pending"]) == (made["id"], 0, 0)
    assert "document.expired, webhook.*" in aperag("subscriptions", "info", made["id"]).stdout
    assert aperag("subscriptions", "delete", "warehouse").exit_code == Exit.USAGE, "nobody was asked"
    assert aperag.json("subscriptions", "delete", "warehouse", "--yes") == {"id": made["id"], "deleted": True}
    assert aperag("subscriptions", "info", "warehouse").exit_code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--sequence", "0"), Exit.USAGE, "--sequence"),
        (("--since", "yesterday"), Exit.USAGE, "neither a duration"),
        (("--sequence", "1", "--since", "2h"), Exit.USAGE, "not both"),
        (("--type", "documents.*"), Exit.FAILED, "documents.*"),
    ],
    ids=str,
)
def test_what_makes_no_subscription_is_named(aperag: Aperag, arguments: tuple[str, ...], code: Exit, told: str) -> None:
    ended = aperag("subscriptions", "create", "none", *arguments)
    assert (ended.exit_code, told in ended.output) == (code, True), ended.output
    assert aperag.json("subscriptions", "list") == []


def test_it_begins_at_a_sequence_or_in_the_past(aperag: Aperag) -> None:
    assert aperag.json("subscriptions", "create", "first", "--sequence", "1")["start"]["sequence"] == 1
    since = aperag.json("subscriptions", "create", "past", "--since", "2h")
    assert since["start"]["time"] < since["created"]
    for name in ("first", "past"):
        aperag.json("subscriptions", "delete", name, "--yes")


def test_the_context_connects_and_is_kept_where_the_nats_command_line_looks(aperag: Aperag, tmp_path: Path) -> None:
    printed = aperag.json("nats", "context", "--save", "warehouse", XDG_CONFIG_HOME=str(tmp_path))
    kept = tmp_path / "nats" / "context" / "warehouse.json"
    assert json.loads(kept.read_text(encoding="utf-8")) == printed
    assert kept.stat().st_mode & 0o777 == 0o600

    async def connected() -> bool:
        nc = await nats.connect(
            printed["url"].split(","),
            token=printed["token"],
            inbox_prefix=printed["inbox_prefix"],
            allow_reconnect=False,
        )
        await nc.flush()
        await nc.close()
        return True

    assert asyncio.run(connected())


def test_what_is_printed_for_programs_holds_no_key(aperag: Aperag) -> None:
    for language in ("python", "go", "javascript"):
        ended = aperag("nats", "context", "--for", language)
        assert ended.exit_code == Exit.OK, ended.output
        assert "_INBOX_key" in ended.stdout
        assert "APERAG_API_KEY" in ended.stdout
        assert aperag.stack.api_key not in ended.stdout
    everything = aperag("nats", "context").stdout
    assert all(f"# {it}" in everything for it in ("nats", "python", "go", "javascript"))


def test_another_key_has_a_context_of_its_own(aperag: Aperag) -> None:
    made = aperag.json("keys", "create", "--scope", "read")
    context = aperag.json("nats", "context", APERAG_API_KEY=made["key"])
    assert context["inbox_prefix"] == f"_INBOX_{made['id']}"
    assert context["token"] == made["key"]
