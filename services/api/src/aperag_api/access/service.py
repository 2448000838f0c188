"""The one place where a collection is opened or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access import repository
from aperag_api.access.decide import Right, Verdict, decide
from aperag_api.kernel.memory import Fresh, Memory
from aperag_api.kernel.reading import reading
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.access.repository import CollectionRow, Found


@dataclass(frozen=True, slots=True)
class KnownCollections:
    """For routes that are called often: how a user stands to a collection is remembered for some seconds."""

    engine: AsyncEngine
    memory: Memory[Found]

    async def open(self, user_id: str, collection_id: str, right: Right) -> CollectionRow:
        """As ``collection_for``."""

        async def look() -> Fresh[Found] | None:
            async with reading(self.engine) as conn:
                found = await repository.find(conn, collection_id, user_id)
            return None if found is None else Fresh(found, found.collection.owner)

        return _granted(await self.memory.find((collection_id, user_id), look), collection_id, right)


async def collection_for(conn: AsyncConnection, user_id: str | None, collection_id: str, right: Right) -> CollectionRow:
    """Raises ``CollectionNotFound`` where it does not exist for the user, ``Forbidden`` where they may not do this.

    Whether it is published is seen anew each time, so that nobody reads what has just been taken back.
    """
    return _granted(await repository.find(conn, collection_id, user_id), collection_id, right)


async def living(conn: AsyncConnection, collection_id: str, user_id: str) -> CollectionRow:
    """The user's own collection, to change it or what is in it."""
    return await collection_for(conn, user_id, collection_id, Right.CHANGE)


async def require_writer(conn: AsyncConnection, user_id: str) -> None:
    """For work in a user's name that comes with no credential of theirs; raises ``Forbidden``."""
    writes = await repository.writes(conn, user_id)
    if writes is None:
        raise errors.Forbidden(f"There is no user {user_id}, or they may not sign in any more")
    if not writes:
        raise errors.Forbidden("This user may read and search only")


async def require_readable(conn: AsyncConnection, user_id: str, collection_ids: Sequence[str]) -> dict[str, str]:
    """Their titles by id; raises ``CollectionNotFound`` for the first that the user may not read."""
    readable = await repository.readable_titles(conn, collection_ids, user_id) if collection_ids else {}
    for collection_id in collection_ids:
        if collection_id not in readable:
            raise refusal(collection_id, Verdict.HIDDEN)
    return readable


async def require_document(conn: AsyncConnection, user_id: str, collection_id: str, document_id: str) -> None:
    """Raises ``DocumentNotFound`` where it is not the user's, or deleted."""
    if not await repository.owns_document(conn, collection_id, document_id, user_id):
        raise errors.DocumentNotFound(f"Document {document_id} not found")


def _granted(found: Found | None, collection_id: str, right: Right) -> CollectionRow:
    verdict = Verdict.HIDDEN if found is None else decide(found.standing, right)
    if found is not None and verdict is Verdict.GRANTED:
        return found.collection
    raise refusal(collection_id, verdict)


def refusal(collection_id: str, verdict: Verdict) -> errors.ClientError:
    if verdict is Verdict.FORBIDDEN:
        message = f"Collection {collection_id} is published by another user: read and search it, but leave it as it is"
        return errors.Forbidden(message)
    return errors.CollectionNotFound(f"Collection {collection_id} not found")
