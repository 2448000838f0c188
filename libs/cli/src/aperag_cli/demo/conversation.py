"""The demonstration's end: questions answered live by the built-in model, with the documents that they rest on."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from rich.text import Text

from aperag_cli.client import chats
from aperag_cli.demo import samples
from aperag_cli.demo.errors import DemoFailed
from aperag_cli.demo.journey import TITLE

if TYPE_CHECKING:
    from rich.console import Console

    from aperag_cli.client.api import Api
    from aperag_cli.demo.samples import Question

PATIENCE = 60.0
CHAT = "ApeRAG demo"


async def converse(console: Console, api: Api) -> None:
    """Raises ``DemoFailed`` where an answer does not cite the document that holds it."""
    collection = next(str(it["id"]) for it in await api.collections() if it["title"] == TITLE)
    bot = await chats.agent_bot(api.http, None)
    chat = await chats.begin(api.http, str(bot["id"]), CHAT)
    console.print("\n[bold]Answers, live[/]")
    for question in samples.ASKED:
        try:
            async with asyncio.timeout(PATIENCE):
                await _ask(console, api, chat, collection, question)
        except TimeoutError as err:
            message = f"{question.query!r} was not answered within {PATIENCE:.0f} s"
            raise DemoFailed(message, hint="see `aperag logs agent`") from err


async def _ask(console: Console, api: Api, chat: dict[str, Any], collection: str, question: Question) -> None:
    message = {
        "query": question.query,
        "collections": [{"id": collection}],
        "language": question.code,
        "message_id": secrets.token_hex(8),
    }
    console.print(f"\n[bold]{question.language}: {question.query}[/]")
    turn = await chats.ask(api.http, chat, message)
    answer = ""
    async for told in chats.follow(api.http, turn["id"], on_loss=lambda _: None):
        match told.kind:
            case "tool_call_result":
                console.print(Text(f"· {told.text}", style="dim"))
            case "message":
                answer += told.text
                console.print(Text(told.text), end="")
            case "error":
                message_ = f"{question.query!r} was not answered: {told.text}"
                raise DemoFailed(message_, hint="see `aperag logs agent`")
            case _:
                pass
    console.print()
    if f"] {question.expects}" not in answer:
        message_ = f"the answer to {question.query!r} does not cite {question.expects}"
        raise DemoFailed(message_, hint="see `aperag logs agent`")
