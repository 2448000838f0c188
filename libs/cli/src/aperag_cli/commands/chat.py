"""``aperag chat``."""

from __future__ import annotations

import asyncio
import re
import secrets
import signal
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aperag_cli.client import chats
from aperag_cli.exits import Exit
from aperag_cli.output import Output, plain
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from aperag_cli.client.chats import Told
    from aperag_cli.client.http import Http

MOST_SOURCES = 10
TITLE_CHARACTERS = 60
_CITED = re.compile(r"\[(\d{1,3})\]")


@dataclass(slots=True)
class Talk:
    """What every question of one chat is asked with."""

    session: Session
    chat: dict[str, Any]
    options: dict[str, Any]

    async def ask(self, question: str) -> Exit:
        """Prints the answer while it is made; Ctrl-C cancels the turn, and what there is of it stays."""
        api, message_id = self.session.api, secrets.token_hex(8)
        message = {**self.options, "query": question, "message_id": message_id}
        turn = await chats.ask(api.http, self.chat, message)
        events = chats.follow(api.http, turn["id"], on_loss=self.session.note_loss)
        shown = Shown(self.session)
        with _interruptions() as interrupted:
            async for told in _until(events, interrupted, turn["id"], self.session):
                shown.tell(told)
        return shown.end(cancelled=interrupted.is_set())


@dataclass(slots=True)
class Shown:
    """An answer in the terminal: its text on standard output, what the agent does meanwhile on the other one."""

    session: Session
    text: str = ""
    references: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    runs: int = 0

    def tell(self, told: Told) -> None:
        if self.session.printer.output is Output.JSON:
            self.session.printer.line(told.body, "")
        else:
            self._show(told)
        match told.kind:
            case "references":
                self.references = list(told.body.get("data") or [])
            case "error":
                self.failure = told.text

    def _show(self, told: Told) -> None:
        printer = self.session.printer
        match told.kind:
            case "start":
                self.runs += 1
                if self.runs > 1:
                    self._break()
                    printer.note("The agent was lost. Another one starts the answer again.")
                self.text = ""
            case "message":
                self.text += told.text
                printer.out.print(plain(told.text), end="", soft_wrap=True)
                printer.out.file.flush()
            case "tool_call_result":
                self._break()
                printer.note(f"· {told.text}" if not told.body.get("failed") else f"· failed: {told.text}")
            case _:
                pass

    def end(self, *, cancelled: bool) -> Exit:
        if self.session.printer.output is not Output.JSON:
            self._break()
            for line in sources(self.text, self.references):
                self.session.printer.out.print(plain(line), soft_wrap=True)
            if self.failure is not None:
                self.session.printer.note(f"failed: {self.failure}")
            elif cancelled:
                self.session.printer.note("Cancelled.")
        if self.failure is not None:
            return Exit.FAILED
        return Exit.INTERRUPTED if cancelled else Exit.OK

    def _break(self) -> None:
        if self.text and not self.text.endswith("\n"):
            self.session.printer.out.print()
            self.text += "\n"


@remote
async def chat(
    session: Session,
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUESTION]",
            help="The question, in quotes. Without it, you are asked for questions.",
            show_default=False,
        ),
    ] = None,
    *,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            "--collection", "-c", help="Id or title of a collection to use; can be repeated.", show_default="all"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="PROVIDER/MODEL", help="Model that answers.", show_default="the bot's, or local"),
    ] = None,
    bot: Annotated[str | None, typer.Option(help="Id or title of the bot.", show_default="the first agent")] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="CHAT", help="Id of a chat to continue.", show_default=False)
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the agent's own words, for example ko-KR.")] = "en-US",
    web: Annotated[bool, typer.Option("--web", help="Let the agent search and read the web.")] = False,
) -> None:
    """Ask about your documents. The answer is printed while it is written, with its sources.

    Ctrl-C cancels an answer. At the prompt, Ctrl-C or Ctrl-D ends the chat.

    Example: aperag chat "How long is the warranty?" --collection Handbooks
    """
    collections = [{"id": await session.api.collection_id(it)} for it in collection or ()]
    options = {"collections": collections, "language": language, "web_search_enabled": web, **_completion(model)}
    opened = await _opened(session.api.http, bot, resume, (question or "New Chat")[:TITLE_CHARACTERS])
    ended = await _talk(Talk(session, opened, options), question)
    if ended is not Exit.OK:
        raise typer.Exit(ended)


async def _opened(http: Http, bot: str | None, resume: str | None, title: str) -> dict[str, Any]:
    """The chat that goes on, or a new one."""
    bot_id = (await chats.agent_bot(http, bot))["id"]
    return await (chats.begin(http, bot_id, title) if resume is None else chats.resume(http, bot_id, resume))


def _completion(model: str | None) -> dict[str, Any]:
    """As a question names its model; nothing where the bot's counts."""
    if model is None:
        return {}
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        message = f"{model!r} is not a model: write it as PROVIDER/MODEL"
        raise typer.BadParameter(message, param_hint="--model")
    return {"completion": {"model_service_provider": provider, "model": name}}


async def _talk(talk: Talk, question: str | None) -> Exit:
    if question is not None:
        return await talk.ask(question)
    if not sys.stdin.isatty():
        return await talk.ask(sys.stdin.read())
    talk.session.printer.note(f"Chat {talk.chat['id']}. Ask something; Ctrl-D ends.")
    while (asked := _prompt()) is not None:
        if asked.strip():
            await talk.ask(asked)
    return Exit.OK


def _prompt() -> str | None:
    """None at the end of the chat. Nothing else goes on meanwhile, so this may block."""
    # The event loop's own handler would only cancel it, and the terminal would go on waiting for a line.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input("> ")
    except (EOFError, KeyboardInterrupt):
        sys.stdout.write("\n")
        return None
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _interruptions() -> Iterator[asyncio.Event]:
    """Set at Ctrl-C, which ends nothing by itself meanwhile; a second one ends the program."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        interrupted.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _until(
    events: AsyncIterator[Told], interrupted: asyncio.Event, turn_id: str, session: Session
) -> AsyncIterator[Told]:
    """Once interrupted the turn is cancelled, and its end is waited for like any other."""
    stop: asyncio.Task[Any] = asyncio.create_task(interrupted.wait())
    following = asyncio.create_task(_next(events))
    try:
        while True:
            await asyncio.wait({following, stop}, return_when=asyncio.FIRST_COMPLETED)
            if stop.done() and not stop.cancelled():
                await chats.cancel(session.api.http, turn_id)
                stop = asyncio.create_task(asyncio.Event().wait())
            if not following.done():
                continue
            told = following.result()
            if told is None:
                return
            yield told
            following = asyncio.create_task(_next(events))
    finally:
        stop.cancel()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def _next(events: AsyncIterator[Told]) -> Told | None:
    return await anext(events, None)


def sources(text: str, references: Sequence[dict[str, Any]]) -> list[str]:
    """The documents that the text cites as ``[1]``, unless it names them itself; without citations, what was found."""
    numbered = {at: _name(it) for at, it in enumerate(references, start=1)}
    cited = [int(it) for it in dict.fromkeys(_CITED.findall(text)) if int(it) in numbered]
    if cited:
        named = [f"[{at}] {numbered[at]}" for at in sorted(cited)]
        return [] if all(line in text for line in named) else ["", *named]
    found = list(dict.fromkeys(name for name in numbered.values() if name))[:MOST_SOURCES]
    return ["", "Sources: " + ", ".join(found)] if found else []


def _name(reference: dict[str, Any]) -> str:
    metadata = reference.get("metadata") or {}
    return str(metadata.get("source") or metadata.get("title") or metadata.get("url") or "")
