"""Commands that talk to a gateway: which one, with which key, and how the answer is printed."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

import typer

from aperag_cli import local
from aperag_cli.client.api import connect
from aperag_cli.client.errors import NotAuthorised
from aperag_cli.client.http import Target
from aperag_cli.environment import API_KEY, API_URL, home
from aperag_cli.errors import WrongState
from aperag_cli.output import Output, OutputOption, Printer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aperag_cli.client.api import Api
    from aperag_cli.client.errors import ApiError

P = ParamSpec("P")

GATEWAY = "Gateway"
Url = Annotated[
    str | None,
    typer.Option(
        envvar=API_URL,
        rich_help_panel=GATEWAY,
        help="Gateway address; default: the stack on this machine.",
        show_default=False,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar=API_KEY,
        rich_help_panel=GATEWAY,
        help="API key; default: that of the stack on this machine.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    api: Api
    printer: Printer

    def note_loss(self, err: ApiError) -> None:
        self.printer.note(f"the connection was lost, trying again: {err.message}")


def remote(work: Callable[Concatenate[Session, P], Awaitable[None]]) -> Callable[..., None]:
    """The command made of ``work``, with the options that all such commands have behind its own."""

    def run(*, url: str | None, api_key: str | None, output: Output, **given: Any) -> None:
        target = resolve(url, api_key, home())
        asyncio.run(_run(work, target, Printer(output), given))

    own = list(inspect.signature(work, eval_str=True).parameters.values())[1:]
    shared = [
        inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=Output.TABLE, annotation=OutputOption),
        inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Url),
        inspect.Parameter("api_key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ApiKey),
    ]
    run.__name__, run.__doc__ = work.__name__, work.__doc__
    run.__annotations__ = {it.name: it.annotation for it in (*own, *shared)}
    vars(run)["__signature__"] = inspect.Signature([*own, *shared])
    return run


async def _run(work: Callable[..., Awaitable[None]], target: Target, printer: Printer, given: dict[str, Any]) -> None:
    async with connect(target) as api:
        await work(Session(api, printer), **given)


def resolve(url: str | None, api_key: str | None, home: Path) -> Target:
    """The key of the stack on this machine is never sent anywhere else."""
    stack = local.running(home)
    wanted = None if url is None else _checked(url)
    if stack is not None and wanted in {None, stack.url}:
        return Target(stack.url, api_key or _own_key(stack.api_key), local=True)
    if wanted is None and not local.installed():
        message = f"which gateway? Give its address: --url or {API_URL}"
        raise typer.BadParameter(message, param_hint="--url")
    if wanted is None:
        message = f"no stack runs on {home}"
        raise WrongState(message, hint=f"start one with `aperag up`, or name a gateway: --url or {API_URL}")
    if not api_key:
        message = f"no API key for {wanted}"
        raise NotAuthorised(message, hint=f"give one: --api-key or {API_KEY}")
    return Target(wanted, api_key)


def _own_key(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as err:
        message = f"cannot read the API key of the stack, {path}: {err.strerror}"
        raise NotAuthorised(message, hint=f"become the user who started the stack, or give a key: {API_KEY}") from err


def _checked(url: str) -> str:
    """Without what people copy along."""
    shortened = url.strip().rstrip("/").removesuffix("/api/v1")
    try:
        parts = urlsplit(shortened)
        legal = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        legal = False
    if not legal:
        message = f"{url!r} is not the address of a gateway: use one like http://127.0.0.1:8000"
        raise typer.BadParameter(message, param_hint="--url")
    return shortened
