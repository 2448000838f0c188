"""Jobs of every kind, ordered the way that the services order them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common import ids
from aperag_common.jobs.declared import COLLECTION_PURGE, COLLECTION_SUMMARY, DOCUMENT, PARSE, TURN, USER_PURGE
from aperag_common.jobs.kind import Wanted
from aperag_common.jobs.steps import StepKind
from aperag_testing.factories import make_collection, make_upload, make_user
from aperag_testing.steps import DUE
from aperag_work import changes, summaries, transitions
from aperag_work.database import driver
from aperag_work.rows import Dispatch
from aperag_work.transitions import Wish
from aperag_work.waiting import release_waiting

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.jobs.kind import JobKind

SOURCE = "tests"

_MAKE_BOT = """
    INSERT INTO bot (id, owner, title, description, type, config) VALUES (:bot, :owner, 't', '', 'agent', '{}')
"""
_MAKE_CHAT = "INSERT INTO chat (id, owner, bot_id, title, peer_type) VALUES (:chat, :owner, :bot, 't', 'system')"
_MAKE_TURN = """
    INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, credential)
    VALUES (:turn, :owner, :chat, :bot, 0, 'm', '{}', '{}', '?', repeat('c', 32))
"""


async def order(conn: AsyncConnection, kind: JobKind, wanted: Wanted = Wanted.PRESENT) -> Dispatch:
    """The first command of a new job, of a new subject."""
    if kind.aggregate == DOCUMENT:
        return await _of_document(conn, kind, wanted)
    if kind is COLLECTION_PURGE:
        owner = await make_user(conn)
        collection_id = await make_collection(conn, owner=owner)
        return (await changes.purge_collection(conn, collection_id, owner, first_due=DUE)).commands[0]
    if kind is USER_PURGE:
        return (await changes.purge_user(conn, await make_user(conn), first_due=DUE)).commands[0]
    if kind is COLLECTION_SUMMARY:
        collection_id = await make_collection(conn, config={"enable_summary": True})
        return (await summaries.follow(conn, collection_id, first_due=DUE, source=SOURCE))[0]
    owner = await make_user(conn)
    subject_id = await _make_turn(conn, owner) if kind is TURN else str(ids.new_document_id())
    return await want(conn, kind, subject_id, owner, wanted=wanted)


async def want(
    conn: AsyncConnection, kind: JobKind, subject_id: str, owner: str, *, wanted: Wanted = Wanted.PRESENT
) -> Dispatch:
    """The next generation of a job that belongs to no aggregate; its command."""
    wish = Wish(kind.name, subject_id, owner)
    [(row, _)] = await transitions.want(await driver(conn), kind, [wish], wanted=wanted, first_due=DUE)
    return Dispatch(row, SOURCE)


async def _of_document(conn: AsyncConnection, kind: JobKind, wanted: Wanted) -> Dispatch:
    steps = [step for step in StepKind if step.job == kind.name and kind is not PARSE]
    upload = await make_upload(conn, kinds=steps)
    if wanted is Wanted.ABSENT:
        deleted = await changes.delete(conn, upload.document_id, first_due=DUE)
        commands = () if deleted is None else deleted.commands
        return next(command for command in commands if command.row.kind == kind.name)
    if kind is PARSE:
        return upload.commands[0]
    [row] = await release_waiting(conn, [upload.document_id], PARSE.name, first_due=DUE)
    return Dispatch(row, SOURCE)


async def _make_turn(conn: AsyncConnection, owner: str) -> str:
    named = {
        "owner": owner,
        "bot": str(ids.new_bot_id()),
        "chat": str(ids.new_chat_id()),
        "turn": str(ids.new_turn_id()),
    }
    for statement in (_MAKE_BOT, _MAKE_CHAT, _MAKE_TURN):
        await conn.execute(text(statement), named)
    return named["turn"]
