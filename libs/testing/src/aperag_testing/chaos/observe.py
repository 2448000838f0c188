"""Reading a system from outside, once it is at rest."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from sqlalchemy import text

from aperag_common import subjects
from aperag_common.objects import layout
from aperag_testing.chaos.observation import Fact, Listed, Observation, Piece, Step, Stored, Task
from aperag_testing.chaos.plan import word_of
from aperag_testing.chaos.rest import commands_left
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_testing.chaos.observation import Accepted
    from aperag_testing.client import Client, EventLog
    from aperag_testing.stack import Stack

PAGE = 100
SWEPT_WITHIN = 120.0
READY_WITHIN = 60.0
TOLD_WITHIN = 120.0
RESET = "reset"
SERVERS = frozenset(("nats", "postgres"))

# A tombstone keeps the jobs that removed it. Jobs that outlive their document, or leave something served, do not belong.
_STEPS = """
    SELECT j.subject_id AS document_id, replace(j.kind, 'index.', '') AS kind, j.status, j.generation,
        j.observed_generation, i.served_generation, j.lease_token IS NOT NULL AS leased
    FROM job j LEFT JOIN document_index i
        ON i.document_id = j.subject_id AND i.kind = replace(j.kind, 'index.', '')
    WHERE j.collection_id = :collection AND (j.kind = 'parse' OR j.kind LIKE 'index.%')
        AND NOT (j.wanted = 'absent' AND j.status = 'DELETED' AND i.document_id IS NULL
            AND EXISTS (SELECT 1 FROM document d WHERE d.id = j.subject_id))
"""
_PIECES = """
    SELECT 'chunk' AS "table", document_id, id AS chunk_id, generation, ordinal, text_hash
    FROM chunk WHERE collection_id = :collection
    UNION ALL
    SELECT 'vector', v.document_id, v.chunk_id, v.generation, c.ordinal, c.text_hash
    FROM chunk_vector v JOIN chunk c ON c.id = v.chunk_id WHERE v.collection_id = :collection
    UNION ALL
    SELECT 'fulltext', t.document_id, t.chunk_id, t.generation, c.ordinal, c.text_hash
    FROM chunk_term t JOIN chunk c ON c.id = t.chunk_id WHERE t.collection_id = :collection
"""
_TASKS = """
    SELECT w.id, w.document_id, w.kind, w.status, count(*) FILTER (WHERE s.outcome = 'open') AS open_steps
    FROM workflow w LEFT JOIN workflow_step s ON s.workflow_id = w.id
    WHERE w.collection_id = :collection GROUP BY w.id
"""
_EPOCH = "SELECT epoch FROM stream_epoch WHERE stream = :events"
_FACTS = f"""
    SELECT id::text, payload ->> 'type' AS type, payload -> 'data' ->> 'workflow_id' AS task_id,
        epoch IS NOT DISTINCT FROM ({_EPOCH}) AS relayed
    FROM outbox
    WHERE payload -> 'data' ->> 'document_id' IN (SELECT document_id FROM workflow WHERE collection_id = :collection)
"""
_LETTERS = """
    SELECT concat_ws(' ', document_id, kind, code, message) FROM dead_letter
    WHERE collection_id = :collection
"""


@dataclass(frozen=True, slots=True)
class Observer:
    """One collection of a stack, whose events ``log`` has been told from before its first document on."""

    stack: Stack
    client: Client
    rows: AsyncEngine
    bus: Bus
    log: EventLog
    collection: str

    async def observe(self, accepted: Sequence[Accepted], searched: Iterable[Accepted]) -> Observation:
        """``searched`` are those whose own word is looked for."""
        unready = await self._unready()
        facts = [Fact(**row) for row in await self._rows(_FACTS)]
        tasks = [Task(**row) for row in await self._rows(_TASKS)]
        return Observation(
            listed=await self._listed(),
            steps=[Step(**row) for row in await self._rows(_STEPS)],
            pieces=[Piece(**row) for row in await self._rows(_PIECES)],
            tasks=tasks,
            facts=facts,
            told=await self._told({task.document_id for task in tasks}, len(facts)),
            stored=await self._stored({document.id for document in accepted if not document.deleted}),
            hits={document.id: await self._hits(document) for document in searched},
            dead_letters=[str(next(iter(row.values()))) for row in await self._rows(_LETTERS)],
            commands=await commands_left(self.bus),
            unready=unready,
            strays=self._strays(),
        )

    async def _rows(self, query: str) -> list[dict[str, Any]]:
        parameters = {"collection": self.collection, "events": subjects.EVENTS}
        async with self.rows.connect() as conn:
            return [dict(row) for row in (await conn.execute(text(query), parameters)).mappings()]

    async def _listed(self) -> list[Listed]:
        found: list[Listed] = []
        path = f"/collections/{self.collection}/documents"
        page, more = 1, True
        while more:
            answer = await self.client.json(
                "GET", path, params={"page": page, "page_size": PAGE, "sort_by": "name", "sort_order": "asc"}
            )
            found += [Listed(it["id"], it["name"], it["status"], it["error_code"]) for it in answer["items"]]
            page, more = page + 1, len(answer["items"]) == PAGE
        return found

    async def _told(self, documents: set[str], facts: int) -> list[str]:
        """In the present life of the stream: what a wipe took is told again."""
        [row] = await self._rows(_EPOCH)
        life = f"{row['epoch']}-"
        if all(event.type != RESET for event in self.log.events):
            return await _ids(self.log, life, documents, facts)
        # Who was told to look at the state again may have missed what was told before: another begins at the begin.
        async with self.client.events(after=f"{life}0") as again:
            return await _ids(again, life, documents, facts)

    async def _hits(self, document: Accepted) -> list[str]:
        hits = await self.client.search(self.collection, word_of(document.text), legs=["fulltext"])
        return [hit["metadata"]["document_id"] for hit in hits]

    async def _stored(self, wanted: set[str]) -> dict[str, Stored]:
        """Waste is swept from time to time: what is not wanted is waited out."""
        [row] = await self._rows("SELECT owner FROM collection WHERE id = :collection")
        directory = self.stack.objects / layout.collection_prefix(row["owner"], self.collection)

        async def swept() -> bool:
            return await asyncio.to_thread(lambda: {path.name for path in directory.iterdir()} <= wanted)

        try:
            await until(swept, within=SWEPT_WITHIN, every=1.0)
        except AssertionError:
            return await asyncio.to_thread(_stored, directory)  # the judge says what is left
        return await asyncio.to_thread(_stored, directory)

    async def _unready(self) -> list[str]:
        """Services that are not bound, connected and moving again, whatever has happened to them."""
        unready: list[str] = []

        async def ready() -> bool:
            unready[:] = [unit["name"] for unit in self.stack.state()["units"] if not await self._is_ready(unit)]
            return not unready

        try:
            await until(ready, within=READY_WITHIN)
        except AssertionError:
            return unready
        return []

    async def _is_ready(self, unit: dict[str, Any]) -> bool:
        if unit["status"] != "ready" or unit["name"] in SERVERS:
            return bool(unit["status"] == "ready")
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                return (await http.get(f"http://127.0.0.1:{unit['port']}/readyz")).is_success
            except httpx.TransportError:
                return False

    def _strays(self) -> list[str]:
        supervisor = psutil.Process(self.stack.state()["pid"])
        ours = {supervisor, *supervisor.children(recursive=True)}
        return [f"{process.pid}" for process in self.stack.processes() if process not in ours]


async def _ids(log: EventLog, life: str, documents: set[str], facts: int) -> list[str]:
    """Of the events of these documents, once there are as many as facts."""

    def told() -> list[str]:
        events = (event for event in log.events if event.id.startswith(life))
        return [event.body["id"] for event in events if event.data.get("document_id") in documents]

    try:
        await log.until(lambda _: len(told()) >= facts, within=TOLD_WITHIN)
    except AssertionError:
        return told()  # the judge says which are missing
    return told()


def _stored(directory: Path) -> dict[str, Stored]:
    return {path.name: _stored_document(path) for path in directory.iterdir()}


def _stored_document(prefix: Path) -> Stored:
    originals = [path.read_bytes() for path in prefix.glob("original.*")]
    sha256 = hashlib.sha256(originals[0]).hexdigest() if len(originals) == 1 else None
    return Stored(sha256, parsed=any(prefix.glob("parsed-*")))
