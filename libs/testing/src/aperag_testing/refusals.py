"""What a refusal must look like to a client, and what it must leave as it was."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import httpx
    from sqlalchemy.ext.asyncio import AsyncEngine

PROBLEM = "application/problem+json"
DETAIL = "detail"
"""In place of an error code: FastAPI's own body, ``{"detail": …}``."""

_BUSINESS = {"success", "error_code", "code", "message", "details", "path"}
_PROBLEM = {"type", "title", "status", "detail", "instance", "error_code", "trace_id", "retryable"}
_LEAKS = ("Traceback", 'File "', "asyncpg", "sqlalchemy", "SELECT ", "INSERT ", "site-packages", "/objects/", "Errno")

_TABLES = text(
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name <> 'audit_log' ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Attack:
    """A request that must be refused with ``status`` and ``code``; ``request`` goes to httpx as it is."""

    what: str
    method: str
    path: str
    status: int
    code: str = DETAIL
    request: dict[str, Any] = field(default_factory=dict)


async def unrefused(http: httpx.AsyncClient, attacks: Iterable[Attack]) -> list[str]:
    """What is wrong with the answers to ``attacks``; each is asked for as usual and as a problem (RFC 9457)."""
    wrong: list[str] = []
    for attack in attacks:
        usual = await http.request(attack.method, attack.path, **attack.request)
        headers = {**attack.request.get("headers", {}), "accept": PROBLEM}
        problem = await http.request(attack.method, attack.path, **{**attack.request, "headers": headers})
        found = [*misshapen(usual, attack.status, attack.code), *_no_problem(problem, attack.status, attack.code)]
        wrong += [f"{attack.what}: {attack.method} {attack.path[:80]}: {reason}" for reason in found]
    return wrong


def misshapen(answer: httpx.Response, status: int, code: str) -> list[str]:
    """Where ``answer`` departs from the contract's error body."""
    if answer.status_code != status:
        return [f"{answer.status_code} instead of {status}: {answer.text[:200]}"]
    body = answer.json()
    wrong = _leaks(answer)
    if code == DETAIL:
        errors = body.get("detail")
        listed = isinstance(errors, list) and all({"type", "loc", "msg"} <= error.keys() for error in errors)
        if set(body) != {"detail"} or not errors or not (isinstance(errors, str) or listed):
            wrong.append(f"not FastAPI's body: {answer.text[:200]}")
    elif set(body) != _BUSINESS or body["error_code"] != code or body["success"] or not body["message"]:
        wrong.append(f"not the body of {code}: {answer.text[:200]}")
    return wrong


def _no_problem(answer: httpx.Response, status: int, code: str) -> list[str]:
    if (answer.status_code, answer.headers["content-type"]) != (status, PROBLEM):
        return [f"no problem but {answer.status_code} {answer.headers['content-type']}: {answer.text[:200]}"]
    body = answer.json()
    right = body.keys() >= _PROBLEM and body["status"] == status and body["retryable"] is False and body["detail"]
    named = body.get("error_code") == code or (code == DETAIL and body.get("error_code"))
    return _leaks(answer) + ([] if right and named else [f"not a problem of {code}: {answer.text[:200]}"])


def _leaks(answer: httpx.Response) -> list[str]:
    wrong = [f"it tells {leak!r}: {answer.text[:200]}" for leak in _LEAKS if leak in answer.text]
    return wrong if len(answer.content) < 16_384 else [*wrong, f"it has {len(answer.content)} bytes"]


async def snapshot(engine: AsyncEngine, directory: Path) -> dict[str, list[str]]:
    """Every row and every path below ``directory``.

    The last use of a key, the relay of an event and the audit log, where refusals are noted, do not count.
    """
    found = {"objects": await asyncio.to_thread(_paths, directory)}
    async with engine.connect() as conn:
        for table in (await conn.execute(_TABLES)).scalars():
            kept = f"SELECT CAST(to_jsonb(t) - 'last_used_at' - 'epoch' - 'relayed' AS text) FROM {table} t"
            found[table] = sorted((await conn.execute(text(kept))).scalars())
    return found


def _paths(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def changes(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """What came and what went between two snapshots."""
    came = [f"+ {name}: {row[:300]}" for name, rows in after.items() for row in rows if row not in before[name]]
    return came + [f"- {name}: {row[:300]}" for name, rows in before.items() for row in rows if row not in after[name]]
