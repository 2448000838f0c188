"""``aperag keys``."""

from __future__ import annotations

from typing import Annotated

import typer

from aperag_standalone.cli.output import details, table
from aperag_standalone.cli.remote import Session, remote

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make, list and revoke API keys.")

COLUMNS = ("id", "key", "description", "created_at", "last_used_at")


@app.command()
@remote
async def create(
    session: Session,
    *,
    description: Annotated[str | None, typer.Option(help="What it is for.", show_default=False)] = None,
) -> None:
    """Make a key. It is shown now and never again."""
    made = await session.api.create_key(description)
    session.printer.whole(made, lambda: details(made))
    session.printer.note("Keep the key now: it is not shown again.")


@app.command("list")
@remote
async def list_keys(session: Session) -> None:
    """Your keys, masked."""
    found = await session.api.keys()
    session.printer.whole(found, lambda: table(found, COLUMNS))


@app.command()
@remote
async def revoke(
    session: Session,
    key: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `aperag keys list` shows it.")],
) -> None:
    """Make a key useless from now on, also the one in use."""
    await session.api.revoke_key(key)
    session.printer.whole({"id": key, "revoked": True}, lambda: details({"id": key, "revoked": "yes"}))
