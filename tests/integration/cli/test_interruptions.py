"""Uploads and event streams that are cut short by a person, a network or a gateway go on where they were."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_cli.exits import Exit
from aperag_testing.stack import rows_of
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.conftest import Aperag, Road

pytestmark = pytest.mark.timeout(240)

PATIENCE = 60.0
COUNT = 120
SIZE = 20_000
FIRST_BATCH = 50 * SIZE


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Enough documents for three requests."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(COUNT):
        (folder / f"{number:03}.txt").write_text(f"{number} ".ljust(SIZE, "."), encoding="ascii")
    return folder


def through(road: Road, aperag: Aperag) -> dict[str, str | None]:
    return {"APERAG_API_URL": road.url, "APERAG_API_KEY": aperag.stack.api_key}


async def in_thread(aperag: Aperag, *arguments: str) -> Any:
    """The runner has an event loop of its own."""
    return await asyncio.to_thread(aperag.json, *arguments)


async def test_after_ctrl_c_a_second_run_sends_what_is_missing(
    aperag: Aperag, collection: str, many: Path, road: Road
) -> None:
    road.budget = FIRST_BATCH + FIRST_BATCH / 2
    arguments = ("documents", "upload", collection, str(many), "-r", "--concurrency", "1")
    async with aperag.started(*arguments, **through(road, aperag)) as upload, asyncio.timeout(PATIENCE):
        await road.full.wait()
        upload.send_signal(signal.SIGINT)
        out, err = await upload.communicate()
    assert upload.returncode == Exit.INTERRUPTED, err
    assert out == b""
    assert "Run the same command again" in err.decode()
    assert "Traceback" not in err.decode()
    there = len(await in_thread(aperag, "documents", "list", collection))
    assert there == 50
    told = await in_thread(aperag, *arguments)
    assert (len(told["known"]), len(told["accepted"]), told["refused"]) == (there, COUNT - there, [])
    assert len(await in_thread(aperag, "documents", "list", collection)) == COUNT


async def test_a_connection_that_breaks_in_an_upload_is_made_again(
    aperag: Aperag, collection: str, many: Path, road: Road
) -> None:
    road.budget = FIRST_BATCH / 2
    arguments = ("documents", "upload", collection, str(many), "-r", "-o", "json")
    async with aperag.started(*arguments, **through(road, aperag)) as upload, asyncio.timeout(PATIENCE):
        await road.full.wait()
        road.mend()
        out, err = await upload.communicate()
    assert upload.returncode == Exit.OK, err
    assert "trying again" in err.decode()
    assert len(json.loads(out)["accepted"]) == COUNT
    assert len(await in_thread(aperag, "documents", "list", collection)) == COUNT


async def until_indexed(child: asyncio.subprocess.Process, document_id: str) -> list[dict[str, Any]]:
    """What is told up to the end of this document's indexing."""
    assert child.stdout is not None
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        while not told or (told[-1]["event"], about(told[-1])) != ("document.indexed", document_id):
            told.append(json.loads(await child.stdout.readline()))
    return told


def about(event: dict[str, Any]) -> str:
    return str(event["data"].get("document_id"))


async def beginning(aperag: Aperag) -> str:
    """Before the first event that the stream holds: another test may have wiped it."""
    async with rows_of(aperag.stack) as rows, rows.connect() as conn:
        return f"{(await conn.execute(text('SELECT max(epoch) FROM stream_epoch'))).scalar_one()}-0"


async def test_events_are_told_across_a_lost_connection_until_ctrl_c(
    aperag: Aperag, collection: str, folder: Path, road: Road
) -> None:
    since = ("--since", await beginning(aperag))
    async with aperag.started("events", "tail", *since, "-o", "json", **through(road, aperag)) as tail:
        first = await in_thread(aperag, "documents", "upload", collection, str(folder / "tea.md"), "--wait")
        told = await until_indexed(tail, first["accepted"][0]["id"])
        road.cut()
        whales = str(folder / "guides" / "whales.md")
        second = (await in_thread(aperag, "documents", "upload", collection, whales, "--wait"))["accepted"][0]["id"]
        after = await until_indexed(tail, second)
        tail.send_signal(signal.SIGINT)
        _, err = await tail.communicate()
    assert tail.returncode == Exit.INTERRUPTED
    assert "trying again" in err.decode()
    assert "Traceback" not in err.decode()
    assert next(it["event"] for it in after if about(it) == second) == "document.uploaded"
    positions = [tuple(map(int, it["event_id"].split("-"))) for it in (*told, *after)]
    assert positions == sorted(set(positions))


async def test_events_of_one_document_begin_after_the_event_that_is_named(
    aperag: Aperag, collection: str, folder: Path
) -> None:
    uploaded = await in_thread(aperag, "documents", "upload", collection, str(folder), "-r", "--wait")
    id_ = uploaded["accepted"][0]["id"]
    arguments = ("events", "tail", "--document", id_, "-o", "json", "--since")
    async with aperag.started(*arguments, await beginning(aperag)) as tail:
        told = await until_indexed(tail, id_)
    assert {about(it) for it in told} == {id_}
    assert told[0]["event"] == "document.uploaded"
    async with aperag.started(*arguments, told[0]["event_id"]) as tail:
        assert await until_indexed(tail, id_) == told[1:]


async def test_events_for_people_are_one_line_each(aperag: Aperag, collection: str, folder: Path) -> None:
    await in_thread(aperag, "documents", "upload", collection, str(folder / "tea.md"), "--wait")
    since = ("--since", await beginning(aperag))
    async with aperag.started("events", "tail", *since) as tail, asyncio.timeout(PATIENCE):
        assert tail.stdout is not None
        line = ""
        while "document.uploaded" not in line:  # tests that came before may have left events of their own
            line = (await tail.stdout.readline()).decode()
            assert re.match(r"\d+-\d+ +\d{4}-\d\d-\d\dT", line)


async def test_ctrl_c_while_waiting_leaves_the_documents_accepted(aperag: Aperag, collection: str, many: Path) -> None:
    async with aperag.started("documents", "upload", collection, str(many), "-r", "--wait") as upload:

        async def accepted() -> bool:
            return len(await in_thread(aperag, "documents", "list", collection)) == COUNT

        await until(accepted, within=PATIENCE)
        upload.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            await upload.communicate()
    assert upload.returncode == Exit.INTERRUPTED
    assert (await in_thread(aperag, "documents", "upload", collection, str(many), "-r"))["accepted"] == []
