"""What must be true of a recording after an upgrade, once nothing is open any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recording import Recording

DRIVEN = ("document_step", "collection_purge", "user_purge", "collection_summary", "turn")
SHOWN = (
    *("id", "owner", "document_id", "kind", "workflow_id"),
    *("status", "generation", "dispatch", "attempt", "failures", "lease_owner"),
)
BECOMES = {"PENDING": "ACTIVE", "CREATING": "ACTIVE", "DELETING": None, "DELETION_IN_PROGRESS": None}


def expected(recording: Recording) -> dict[str, Any]:
    """``at_recording`` tells the state that was recorded, the other members what an upgrade must end with; null: gone.

    A collection takes its tasks with it. Collections of chats' files are made by the gateway, so they are read here.
    """
    tables = {name: _table(recording, name) for name in ("collection", "document", "workflow", "dead_letter", *DRIVEN)}
    made = {it["id"]: "ACTIVE" for it in tables["collection"] if recording.users[it["owner"]] is not None}
    collections = made | recording.collections
    return {
        "recorded": recording.stack.rows("SELECT clock_timestamp() AS at")[0]["at"],
        "roles": recording.roles,
        "users": recording.users,
        "collections": collections,
        "documents": recording.documents,
        "tasks": {it["id"]: _task(it, collections) for it in tables["workflow"]},
        "steps": {it["id"]: _step(it, recording.documents) for it in tables["document_step"]},
        "turns": {it["id"]: it["outcome"] or "answered" for it in tables["turn"]},
        "summaries": {it["id"]: "ACTIVE" for it in tables["collection_summary"]},
        "dead_letters": [it["id"] for it in tables["dead_letter"]],
        "at_recording": {
            "documents": {it["id"]: _some(it, ("name", "status")) for it in tables["document"]},
            "tasks": {it["id"]: _some(it, ("document_id", "kind", "status")) for it in tables["workflow"]},
            "rows": {name: [_some(it, SHOWN) for it in tables[name]] for name in DRIVEN if tables[name]},
        },
    }


def _task(task: dict[str, Any], collections: dict[str, str | None]) -> str | None:
    if collections[task["collection_id"]] is None:
        return None
    return "SUCCESS" if task["status"] == "RUNNING" else task["status"]


def _step(step: dict[str, Any], documents: dict[str, str | None]) -> str | None:
    if documents[step["document_id"]] is None:
        return None
    return BECOMES.get(step["status"], step["status"])


def _some(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row}


def _table(recording: Recording, name: str) -> list[dict[str, Any]]:
    return recording.stack.rows(f"SELECT * FROM {name} ORDER BY created, id") if name in recording.has else []
