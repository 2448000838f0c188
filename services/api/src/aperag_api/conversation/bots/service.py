"""Making, changing and deleting bots."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from aperag_api.access.quotas.allowance import take
from aperag_api.access.service import require_readable
from aperag_api.conversation.bots import repository
from aperag_api.conversation.bots.decide import agent_config, parsed
from aperag_api.conversation.bots.schemas import BotList, BotOut
from aperag_api.conversation.flows.decide import read
from aperag_api.kernel.reading import reading
from aperag_common import errors, ids
from aperag_common.db.models import QuotaType
from aperag_work.scheduler import ScheduleContext

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.conversation.bots.repository import BotRow
    from aperag_api.conversation.bots.schemas import BotCreate, BotUpdate
    from aperag_api.conversation.chats.service import ChatService
    from aperag_api.conversation.flows.check import FlowChecker
    from aperag_common.flows.definition import Flow


NEW = "New Bot"
"""The title of a bot that was given none."""

FLOWING = frozenset({"knowledge", "common"})
"""Types of bots that a flow answers for."""


@dataclass(frozen=True, slots=True)
class BotService:
    engine: AsyncEngine
    chats: ChatService
    flows: FlowChecker

    async def create(self, owner: str, wanted: BotCreate) -> BotOut:
        config, config_text = parsed(wanted.config)
        flow = await self._flow_in(owner, config)
        async with self.engine.begin() as conn:
            await take(conn, owner, QuotaType.BOTS)
            await require_readable(conn, owner, agent_config(config).collection_ids)
            row = await repository.insert(
                conn,
                owner,
                {
                    "id": ids.new_bot_id(),
                    "title": wanted.title or NEW,
                    "description": wanted.description or "",
                    "type": wanted.type,
                    "config": config,
                    "config_text": config_text,
                    "flow": flow,
                },
            )
        return view(row)

    async def of_owner(self, owner: str) -> BotList:
        async with reading(self.engine) as conn:
            return BotList(items=[view(row) for row in await repository.of_owner(conn, owner)])

    async def get(self, owner: str, bot_id: str) -> BotOut:
        async with reading(self.engine) as conn:
            return view(await known(conn, owner, bot_id))

    async def update(self, owner: str, bot_id: str, wanted: BotUpdate) -> BotOut:
        flow = None if wanted.config is None else await self._flow_in(owner, parsed(wanted.config)[0])
        async with self.engine.begin() as conn:
            row = await known(conn, owner, bot_id, lock=True)
            if wanted.type is not None and wanted.type != row.type:
                raise errors.InvalidParameter(f"The type of a bot stays as it is: this one is of the type {row.type}")
            if wanted.config is not None:
                config, config_text = parsed(wanted.config)
                await require_readable(conn, owner, agent_config(config).collection_ids)
                # A config that says nothing of the flow leaves it as it is: it has a route of its own.
                row = replace(row, config=config, config_text=config_text, flow=flow or row.flow)
            title = row.title if wanted.title is None else wanted.title
            description = row.description if wanted.description is None else wanted.description
            row = await repository.update(conn, replace(row, title=title, description=description))
        return view(row)

    async def delete(self, owner: str, bot_id: str) -> None:
        """With its chats and their files; one that is not there is no error."""
        async with self.engine.begin() as conn:
            await repository.find(conn, owner, bot_id, lock=True)
            context = ScheduleContext(conn)
            running = await self.chats.remove_all(owner, bot_id, context)
            await repository.remove(conn, owner, bot_id)
        await self.chats.deliver(context, running)

    async def flow(self, owner: str, bot_id: str) -> dict[str, Any]:
        """Empty where the bot has none."""
        async with reading(self.engine) as conn:
            return (await known(conn, owner, bot_id)).flow or {}

    async def change_flow(self, owner: str, bot_id: str, wanted: Flow) -> dict[str, Any]:
        """Raises ``BotConfigInvalid`` where it could not run."""
        posted = await self.flows.checked(owner, wanted)
        async with self.engine.begin() as conn:
            row = await known(conn, owner, bot_id, lock=True)
            text = row.config_text
            if "flow" in row.config:
                config = {**row.config, "flow": posted}
                row, text = replace(row, config=config), None if text is None else json.dumps(config)
            await repository.update(conn, replace(row, flow=posted, config_text=text))
        return posted

    async def _flow_in(self, owner: str, config: dict[str, Any]) -> dict[str, Any] | None:
        given = config.get("flow")
        return await self.flows.checked(owner, read(given)) if given else None


async def known(conn: AsyncConnection, owner: str, bot_id: str, *, lock: bool = False) -> BotRow:
    """Raises ``BotNotFound``."""
    row = await repository.find(conn, owner, bot_id, lock=lock)
    if row is None:
        raise errors.BotNotFound(f"Bot {bot_id} not found")
    return row


def view(row: BotRow) -> BotOut:
    config = _config(row) if row.config_text is None else row.config_text
    return BotOut.model_validate({**asdict(row), "config": config})


def _config(row: BotRow) -> dict[str, Any]:
    return row.config if row.flow is None else {**row.config, "flow": row.flow}
