"""Rows that tests start from, made the way the gateway makes them."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, text

from aperag_common import ids
from aperag_common.db.models import Collection, User
from aperag_common.db.models.base import Lane
from aperag_common.jobs.steps import StepKind
from aperag_work import changes
from aperag_work.accepting import NewDocument
from aperag_work.opening import Admission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.change import Change

KINDS = (StepKind.VECTOR, StepKind.FULLTEXT)
ADMISSION = Admission(Lane.INTERACTIVE, in_flight_per_owner=32, first_due=timedelta(seconds=60))


async def make_user(conn: AsyncConnection, *, role: str = "rw") -> str:
    user_id = str(ids.new_user_id())
    await conn.execute(insert(User), [{"id": user_id, "username": user_id, "email": None, "role": role}])
    return user_id


async def make_collection(conn: AsyncConnection, *, owner: str | None = None, **values: Any) -> str:
    """``values`` override columns."""
    collection_id = str(ids.new_collection_id())
    row = {
        "id": collection_id,
        "owner": owner or await make_user(conn),
        "title": "tests",
        "config": {},
        "analyzer": "standard/1",
        "active_model": "local/use-multilingual-v3",
        **values,
    }
    await conn.execute(insert(Collection), [row])
    return collection_id


def new_document(collection_id: str, owner: str, *, name: str | None = None, body: bytes = b"x") -> NewDocument:
    document_id = str(ids.new_document_id())
    return NewDocument(
        id=document_id,
        collection_id=collection_id,
        owner=owner,
        name=name or f"{document_id}.txt",
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        object_path=f"user-{owner}/{collection_id}/{document_id}/original.txt",
    )


async def make_upload(
    conn: AsyncConnection,
    *,
    collection_id: str | None = None,
    kinds: Sequence[StepKind] = KINDS,
    admission: Admission = ADMISSION,
    **document: Any,
) -> Change:
    """An accepted document: its change is what the gateway would deliver."""
    collection_id = collection_id or await make_collection(conn)
    query = text("SELECT owner FROM collection WHERE id = :id")
    owner = (await conn.execute(query, {"id": collection_id})).scalar_one()
    new = new_document(collection_id, owner, **document)
    return (await changes.upload(conn, [new], kinds=kinds, admission=admission))[0]
