"""What an owner does with collections."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from aperag_api.collections import repository
from aperag_api.collections.schemas import CollectionConfig, CollectionOut, CollectionView
from aperag_api.paging import LegacyList, PageResult
from aperag_api.reading import reading
from aperag_common import errors, ids
from aperag_common.db.models import CollectionStatus, StepKind
from aperag_common.work import changes, summaries
from aperag_common.work.change import Change
from aperag_retrieval.analysis import DEFAULT_ANALYZER
from aperag_retrieval.embedding import LOCAL_MODEL

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.collections.repository import CollectionRow
    from aperag_api.collections.schemas import CollectionCreate, CollectionUpdate
    from aperag_common.work.courier import Courier

DOCUMENT_TYPE = "document"
SYSTEM_SOURCE = "system"
SOURCE = "api"


@dataclass(frozen=True, slots=True)
class CollectionService:
    engine: AsyncEngine
    courier: Courier
    first_due: timedelta

    async def create(self, owner: str, body: CollectionCreate) -> CollectionOut:
        if body.type != DOCUMENT_TYPE:
            message = f"Collections of type {body.type!r} cannot be created"
            raise errors.InvalidParameter(message)
        _check_source(body.config)
        async with self.engine.begin() as conn:
            row = await repository.insert(
                conn,
                collection_id=ids.new_collection_id(),
                owner=owner,
                title=body.title,
                description=body.description,
                type=body.type,
                config=body.config.model_dump(mode="json"),
                analyzer=DEFAULT_ANALYZER,
                active_model=LOCAL_MODEL,
            )
            commands = await summaries.follow(conn, row.id, first_due=self.first_due, source=SOURCE)
        self.courier.deliver(Change(commands))
        return _view(row)

    async def list(self, owner: str, *, page: int, page_size: int) -> LegacyList[CollectionView]:
        async with reading(self.engine) as conn:
            rows = await repository.list_own(conn, owner, limit=page_size, offset=(page - 1) * page_size)
            count = await repository.count_own(conn, owner)
        items = [CollectionView(**asdict(row)) for row in rows]
        return LegacyList(items=items, pageResult=PageResult(page_number=page, page_size=page_size, count=count))

    async def get(self, owner: str, collection_id: str) -> CollectionOut:
        async with reading(self.engine) as conn:
            return _view(await living(conn, collection_id, owner))

    async def update(self, owner: str, collection_id: str, body: CollectionUpdate) -> CollectionOut:
        _check_source(body.config)
        async with self.engine.begin() as conn:
            row = await repository.update(
                conn,
                collection_id,
                owner,
                title=body.title,
                description=body.description,
                config=body.config.model_dump(mode="json"),
            )
            if row is None:
                raise _not_found(collection_id)
            commands = await summaries.follow(conn, collection_id, first_due=self.first_due, source=SOURCE)
        self.courier.deliver(Change(commands))
        return _view(row)

    async def delete(self, owner: str, collection_id: str) -> CollectionOut:
        """Idempotent for as long as the row is there; its contents go with the purge."""
        async with self.engine.begin() as conn:
            row = await repository.get(conn, collection_id, owner)
            if row is None:
                raise _not_found(collection_id)
            if row.status == CollectionStatus.DELETED:
                return _view(row)
            change = await changes.purge_collection(conn, collection_id, owner, first_due=self.first_due)
            await summaries.remove(conn, [collection_id])
        self.courier.deliver(change)
        return _view(row).model_copy(update={"status": CollectionStatus.DELETED.value})


async def living(conn: AsyncConnection, collection_id: str, owner: str) -> CollectionRow:
    """The owner's collection; raises ``CollectionNotFound`` where there is none or it is deleted."""
    row = await repository.get(conn, collection_id, owner)
    if row is None or row.status == CollectionStatus.DELETED:
        raise _not_found(collection_id)
    return row


def index_kinds(config: dict[str, object]) -> tuple[StepKind, ...]:
    """The indexes with a worker that this collection wants for its documents."""
    wanted = CollectionConfig.model_validate(config)
    kinds = ((StepKind.VECTOR, wanted.enable_vector), (StepKind.FULLTEXT, wanted.enable_fulltext))
    return tuple(kind for kind, enabled in kinds if enabled)


def _view(row: CollectionRow) -> CollectionOut:
    config = CollectionConfig.model_validate(row.config)
    return CollectionOut(
        id=row.id,
        title=row.title,
        type=row.type,
        description=row.description,
        config=config,
        source=config.source,
        status=row.status,
        created=row.created,
        updated=row.updated,
    )


def _check_source(config: CollectionConfig) -> None:
    if config.source != SYSTEM_SOURCE:
        message = f"Source {config.source!r} has no connector; documents are uploaded to a {SYSTEM_SOURCE!r} collection"
        raise errors.InvalidSourceConfig(message)


def _not_found(collection_id: str) -> errors.CollectionNotFound:
    message = f"Collection {collection_id} not found"
    return errors.CollectionNotFound(message)
