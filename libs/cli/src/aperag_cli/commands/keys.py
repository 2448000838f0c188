"""``aperag keys``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from aperag_cli.output import details, table
from aperag_cli.remote import Session, remote

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Create, list and revoke API keys.")

COLUMNS = ("id", "key", "description", "scope", "collections", "expires", "created_at", "last_used_at")
_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class Scope(StrEnum):
    """What the contract of keys knows."""

    ALL = "all"
    READ = "read"


def moment(value: str, *, past: bool = False) -> datetime:
    """``30d``, ``12h`` or ``90m`` from now, or before; or a date or time, without a zone of this machine's."""
    span = _SPAN.fullmatch(value)
    if span:
        length = timedelta(**{_UNITS[span[2]]: int(span[1])})
        return datetime.now(UTC) + (-length if past else length)
    try:
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError) as err:
        message = f"{value!r} is neither a duration like 30d, 12h or 90m nor a time like 2030-01-31T12:00"
        raise typer.BadParameter(message) from err


@app.command()
@remote
async def create(
    session: Session,
    *,
    description: Annotated[str | None, typer.Option(help="What the key is for.", show_default=False)] = None,
    scope: Annotated[
        Scope, typer.Option(help="What the key may do: all that its owner may, or only read and search.")
    ] = Scope.ALL,
    collection: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLLECTION",
            help="Id or title of a collection. The key then works for these collections only. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="WHEN", help="When the key expires: 30d, 12h, 90m, or a time.", show_default="never"
        ),
    ] = None,
) -> None:
    """Create a key. It is shown only once.

    Example: aperag keys create --description agent --scope read --collection Handbooks --expires 30d
    """
    limits: dict[str, Any] = {"scope": scope.value}
    if collection:
        limits["collection_ids"] = [await session.api.collection_id(it) for it in collection]
    if expires is not None:
        limits["expires_at"] = expires.isoformat()
    made = await session.api.create_key(description, **limits)
    session.printer.whole(made, lambda: details(_shown(made)))
    session.printer.note("Save the key now: it is not shown again.")


@app.command("list")
@remote
async def list_keys(session: Session) -> None:
    """List your keys, masked, with their limits and expiry."""
    found = await session.api.keys()
    session.printer.whole(found, lambda: table([_shown(it) for it in found], COLUMNS))


@app.command()
@remote
async def revoke(
    session: Session,
    key: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `aperag keys list` shows it.")],
) -> None:
    """Revoke a key at once, even the one in use."""
    await session.api.revoke_key(key)
    session.printer.whole({"id": key, "revoked": True}, lambda: details({"id": key, "revoked": "yes"}))


def _shown(key: dict[str, Any]) -> dict[str, Any]:
    """For people: no limit is said as such."""
    told = {name: value for name, value in key.items() if name not in {"collection_ids", "expires_at"}}
    collections = key.get("collection_ids")
    return {
        **told,
        "collections": "all" if collections is None else ", ".join(collections),
        "expires": key.get("expires_at") or "never",
    }
