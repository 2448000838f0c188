"""What an owner does with collections, and what their readers see of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from aperag_api.access.decide import Right
from aperag_api.access.quotas.allowance import take
from aperag_api.access.service import collection_for, living
from aperag_api.kernel.paging import LegacyList, Page, PageResult
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.collections import credentials, repository
from aperag_api.knowledge.collections.embedding import chosen
from aperag_api.knowledge.collections.events import SOURCE, record
from aperag_api.knowledge.collections.schemas import (
    CollectionConfig,
    CollectionOut,
    CollectionView,
    EmbeddingSwitch,
    SharedConfig,
)
from aperag_common import errors, ids
from aperag_common.db.models import CollectionStatus, QuotaType
from aperag_common.events import facts
from aperag_common.jobs.steps import StepKind
from aperag_retrieval.analysis import DEFAULT_ANALYZER
from aperag_work import changes, summaries, switching
from aperag_work.change import Change

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.access.repository import CollectionRow
    from aperag_api.kernel.auth import Caller
    from aperag_api.knowledge.collections.embedding import EmbeddingModels
    from aperag_api.knowledge.collections.schemas import CollectionCreate, CollectionUpdate
    from aperag_common.auth.vault import Vault
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.switching import Progress

DOCUMENT_TYPE = "document"
SYSTEM_SOURCE = "system"


@dataclass(frozen=True, slots=True)
class CollectionService:
    engine: AsyncEngine
    dispatcher: Dispatcher
    first_due: timedelta
    vault: Vault
    embedding: EmbeddingModels

    async def create(self, owner: str, body: CollectionCreate) -> CollectionOut:
        if body.type != DOCUMENT_TYPE:
            raise errors.InvalidParameter(f"Collections of type {body.type!r} cannot be created")
        _check_source(body.config)
        model = chosen(body.config) or await self.embedding.default()
        await self.embedding.try_out(owner, model)
        collection_id = ids.new_collection_id()
        async with self.engine.begin() as conn:
            await take(conn, owner, QuotaType.COLLECTIONS)
            row = await repository.insert(
                conn,
                collection_id=collection_id,
                owner=owner,
                title=body.title,
                description=body.description,
                type=body.type,
                config=credentials.stored(body.config, {}, self.vault, collection_id),
                analyzer=DEFAULT_ANALYZER,
                active_model=model,
            )
            commands = await summaries.follow(conn, row.id, first_due=self.first_due, source=SOURCE)
            events = await record(conn, facts.CollectionCreated, row)
        self.dispatcher.deliver(Change(commands, events))
        return _owned(row)

    async def list(self, caller: Caller, *, subscribed: bool, page: Page) -> LegacyList[CollectionView]:
        """As far as the caller's key reaches."""
        async with reading(self.engine) as conn:
            items, count = await repository.list_page(
                conn, caller.user_id, reach=caller.reach, subscribed=subscribed, page=page
            )
        return LegacyList(items=items, pageResult=PageResult(page_number=page.number, page_size=page.size, count=count))

    async def get(self, user_id: str, collection_id: str) -> CollectionOut:
        """A subscriber is told what is indexed; how, and from where, remains the owner's."""
        async with reading(self.engine) as conn:
            row = await collection_for(conn, user_id, collection_id, Right.READ)
            progress = await switching.progress(conn, collection_id) if row.wanted_model else None
        if row.owner == user_id:
            return _owned(row, progress)
        return _view(replace(row, config=SharedConfig.model_validate(row.config).model_dump()))

    async def update(self, owner: str, collection_id: str, body: CollectionUpdate) -> CollectionOut:
        """An embedding model that is not named stays as it is; another one is built beside it and then takes over."""
        _check_source(body.config)
        wanted = chosen(body.config)
        async with reading(self.engine) as conn:
            present = await living(conn, collection_id, owner)
        if wanted is not None and wanted not in {present.active_model, present.wanted_model}:
            await self.embedding.try_out(owner, wanted)
        async with self.engine.begin() as conn:
            await living(conn, collection_id, owner)
            before = await repository.lock_config(conn, collection_id, owner)
            if wanted is not None:
                await switching.want(conn, collection_id, wanted)
            row = await repository.update(
                conn,
                collection_id,
                owner,
                title=body.title,
                description=body.description,
                config=credentials.stored(_kept(body.config, before), before, self.vault, collection_id),
            )
            if row is None:
                raise _not_found(collection_id)
            commands = await summaries.follow(conn, collection_id, first_due=self.first_due, source=SOURCE)
            progress = await switching.progress(conn, collection_id)
            events = await record(conn, facts.CollectionUpdated, row)
        self.dispatcher.deliver(Change(commands, events))
        return _owned(row, progress)

    async def delete(self, owner: str, collection_id: str) -> CollectionOut:
        """Idempotent for as long as the row is there; its contents go with the purge."""
        async with self.engine.begin() as conn:
            row = await repository.get(conn, collection_id, owner) or await living(conn, collection_id, owner)
            if row.status == CollectionStatus.DELETED:
                return _view(row)
            change = await changes.purge_collection(conn, collection_id, owner, first_due=self.first_due)
            await summaries.remove(conn, [collection_id])
        self.dispatcher.deliver(change)
        return _view(row).model_copy(update={"status": CollectionStatus.DELETED.value})


def index_kinds(config: dict[str, object]) -> tuple[StepKind, ...]:
    """The indexes with a worker that this collection wants for its documents."""
    wanted = CollectionConfig.model_validate(config)
    kinds = ((StepKind.VECTOR, wanted.enable_vector), (StepKind.FULLTEXT, wanted.enable_fulltext))
    return tuple(kind for kind, enabled in kinds if enabled)


def _owned(row: CollectionRow, progress: Progress | None = None) -> CollectionOut:
    switch = None if progress is None else EmbeddingSwitch(**asdict(progress))
    return _view(row).model_copy(update={"embedding_model": row.active_model, "embedding_switch": switch})


def _view(row: CollectionRow) -> CollectionOut:
    config = credentials.shown(row.config)
    values = {"config": config, "source": config.source, "is_published": row.published_at is not None}
    return CollectionOut.model_validate({**asdict(row), **values})


def _kept(config: CollectionConfig, before: Mapping[str, Any]) -> CollectionConfig:
    """An embedding model that is not named stays: changing it costs time and money, so nobody does it by leaving it out."""
    if chosen(config) is not None:
        return config
    return config.model_copy(update={"embedding": CollectionConfig.model_validate(before).embedding})


def _check_source(config: CollectionConfig) -> None:
    if config.source != SYSTEM_SOURCE:
        message = f"Source {config.source!r} has no connector; documents are uploaded to a {SYSTEM_SOURCE!r} collection"
        raise errors.InvalidSourceConfig(message)


def _not_found(collection_id: str) -> errors.CollectionNotFound:
    return errors.CollectionNotFound(f"Collection {collection_id} not found")
