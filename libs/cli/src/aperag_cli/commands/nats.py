"""``aperag nats``."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from aperag_cli.client.subscriptions import nats_access
from aperag_cli.commands.snippets import SNIPPETS, Connection
from aperag_cli.environment import config
from aperag_cli.errors import WrongState
from aperag_cli.output import plain
from aperag_cli.remote import Session, remote

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Show how another service connects to NATS with your key."
)

PRIVATE = 0o600


class Client(StrEnum):
    """``nats`` is the command line of NATS."""

    NATS = "nats"
    PYTHON = "python"
    GO = "go"
    JAVASCRIPT = "javascript"


@app.callback()
def group() -> None:
    """Makes a group of the one command there is."""


@app.command()
@remote
async def context(
    session: Session,
    *,
    client: Annotated[
        Client | None, typer.Option("--for", help="Print only the text for this client.", show_default="all of them")
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Save it as a context of the nats command line.", show_default="only print it"
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With TLS: file to write the authority of NATS' certificate to.", show_default=False
        ),
    ] = None,
) -> None:
    """Print the configuration for the nats command line, and for programs in Python, Go and JavaScript.

    It contains the key that this command uses (--api-key). `-o json` prints the context file of the nats command line.

    Example: aperag nats context --save aperag && nats --context aperag sub 'aperag.evt.>'
    """
    connection = _connection(await nats_access(session.api.http), session.api.http.target.api_key, ca_file)
    kept = connection.context()
    if save is not None:
        path = config() / "nats" / "context" / f"{save}.json"
        _write(path, json.dumps(kept, indent=2))
        session.printer.note(f"Saved as {path}: nats --context {save} …")
    if client is Client.NATS:
        session.printer.whole(kept, lambda: plain(json.dumps(kept, indent=2)))
        return
    chosen = SNIPPETS if client is None else {client.value: SNIPPETS[client.value]}
    texts = [f"# {name}\n{make(connection)}" for name, make in chosen.items()]
    if client is None:
        shown = connection.context(hidden=save is not None)
        texts.insert(0, f"# nats: a context, or {connection.options()}\n{json.dumps(shown, indent=2)}")
    session.printer.whole(kept, lambda: plain("\n\n".join(texts)))


def _connection(access: dict[str, Any], api_key: str, ca_file: Path | None) -> Connection:
    if not access["enabled"]:
        message = "this installation does not let other services connect to NATS"
        raise WrongState(
            message, hint="an administrator allows it: APERAG_OUTSIDE__ENABLED, or `aperag up --outsiders`"
        )
    if access["authority"] is not None:
        if ca_file is None:
            message = "the certificate of NATS has its own authority: say where to write that, for example --ca-file nats-ca.pem"
            raise typer.BadParameter(message, param_hint="--ca-file")
        ca_file.write_text(access["authority"], encoding="ascii")
    return Connection(
        servers=tuple(access["servers"]),
        key=api_key,
        inbox_prefix=access["inbox_prefix"],
        owner=access["owner"],
        ca_file=None if access["authority"] is None or ca_file is None else str(ca_file.resolve()),
    )


def _write(path: Path, text: str) -> None:
    """It holds the key: nobody else may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
    path.chmod(PRIVATE)
