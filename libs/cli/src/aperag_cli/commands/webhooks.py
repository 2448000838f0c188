"""``aperag webhooks``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aperag_cli.arguments import Yes, confirm, past
from aperag_cli.client import webhooks
from aperag_cli.output import details, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Send events to your own service, and see what arrived."
)

COLUMNS = ("id", "url", "types", "collections", "state", "description")
DELIVERIES = ("id", "event_type", "status", "attempts", "last", "next_attempt_at", "created")
LOG = ("attempt", "at", "seconds", "status", "code", "message")
KEEP = "Keep the secret now: it is not shown again."

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook, as `aperag webhooks list` shows it.")]
DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="Id of the delivery.")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="URL that events are sent to.")]
Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="Event type, for example document.indexed or document.*; can be repeated.",
        show_default="all",
    ),
]
Collections = Annotated[
    list[str] | None,
    typer.Option(
        "--collection",
        metavar="COLLECTION",
        help="Id or title of a collection; can be repeated.",
        show_default="all, and events without a collection",
    ),
]
Description = Annotated[str | None, typer.Option(help="What the webhook is for.", show_default=False)]


class Status(StrEnum):
    """Of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@app.command()
@remote
async def create(
    session: Session,
    address: Address,
    *,
    types: Types = None,
    collection: Collections = None,
    description: Description = None,
) -> None:
    """Send all events from now on to ADDRESS. The secret is shown only once.

    Example: aperag webhooks create https://example.org/hook --type 'document.*' --collection Handbooks
    """
    made = await webhooks.create(session.api.http, await _wanted(session, address, types, collection, description))
    session.printer.whole(made, lambda: details(_row(made)))
    session.printer.note(KEEP)


@app.command("list")
@remote
async def list_(session: Session) -> None:
    """List your webhooks."""
    found = await webhooks.listed(session.api.http)
    session.printer.whole(found, lambda: table([_row(it) for it in found], COLUMNS))


@app.command()
@remote
async def show(session: Session, webhook: Id) -> None:
    """Show one webhook."""
    found = await webhooks.get(session.api.http, webhook)
    session.printer.whole(found, lambda: details(_row(found)))


@app.command()
@remote
async def update(
    session: Session,
    webhook: Id,
    *,
    address: Annotated[str | None, typer.Option(help="URL that events are sent to.", show_default="as it is")] = None,
    types: Types = None,
    collection: Collections = None,
    description: Description = None,
    every_type: Annotated[bool, typer.Option("--all-types", help="Events of every type.")] = False,
    every_collection: Annotated[bool, typer.Option("--all-collections", help="Events of every collection.")] = False,
) -> None:
    """Change the settings that you name. The others do not change."""
    now = await webhooks.get(session.api.http, webhook)
    given = await _wanted(session, address or now["url"], types, collection, description)
    kept = {name: now[name] for name in ("types", "collection_ids", "description")}
    wanted = {**kept, **given}
    if every_type:
        wanted["types"] = []
    if every_collection:
        wanted["collection_ids"] = None
    changed = await webhooks.update(session.api.http, webhook, wanted)
    session.printer.whole(changed, lambda: details(_row(changed)))


@app.command()
@remote
async def delete(session: Session, webhook: Id, *, yes: Yes = False) -> None:
    """Delete a webhook, with its deliveries."""
    confirm(f"Delete webhook {webhook} and the record of its deliveries?", yes=yes)
    await webhooks.delete(session.api.http, webhook)
    session.printer.whole({"id": webhook, "deleted": True}, lambda: details({"id": webhook, "deleted": "yes"}))


@app.command()
@remote
async def rotate(session: Session, webhook: Id) -> None:
    """Create a new secret. For a day, deliveries are signed with the old one too."""
    made = await webhooks.act(session.api.http, webhook, "rotate")
    session.printer.whole(made, lambda: details(_row(made)))
    session.printer.note(KEEP)


@app.command()
@remote
async def test(session: Session, webhook: Id) -> None:
    """Send an event of the type webhook.test."""
    sent = await webhooks.act(session.api.http, webhook, "test")
    session.printer.whole(sent, lambda: details(sent))
    session.printer.note(f"aperag webhooks deliveries {webhook} shows the result.")


@app.command()
@remote
async def enable(session: Session, webhook: Id) -> None:
    """Enable a disabled webhook again. `replay` sends the events that it missed."""
    found = await webhooks.act(session.api.http, webhook, "enable")
    session.printer.whole(found, lambda: details(_row(found)))


@app.command()
@remote
async def disable(session: Session, webhook: Id) -> None:
    """Stop sending events to a webhook, and keep it. Pending deliveries fail."""
    found = await webhooks.act(session.api.http, webhook, "disable")
    session.printer.whole(found, lambda: details(_row(found)))


@app.command()
@remote
async def deliveries(
    session: Session,
    webhook: Id,
    delivery: Annotated[
        str | None, typer.Argument(metavar="[DELIVERY]", help="Show this delivery with all attempts.")
    ] = None,
    *,
    status: Annotated[Status | None, typer.Option(help="Only deliveries with this status.", show_default="all")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="Maximum number of deliveries.")] = 20,
) -> None:
    """List deliveries, newest first, or show one with all attempts."""
    http = session.api.http
    if delivery is not None:
        one = await webhooks.delivery(http, webhook, delivery)
        session.printer.whole(one, lambda: table(one["log"], LOG))
        return
    found = await webhooks.deliveries(http, webhook, status=status, most=limit)
    session.printer.whole(found, lambda: table([_delivery(it) for it in found], DELIVERIES))


@app.command()
@remote
async def redeliver(session: Session, webhook: Id, delivery: DeliveryId) -> None:
    """Send one delivery again now, with the same id."""
    sent = await webhooks.redeliver(session.api.http, webhook, delivery)
    session.printer.whole(sent, lambda: details(sent))


@app.command()
@remote
async def replay(
    session: Session,
    webhook: Id,
    *,
    since: Annotated[
        datetime,
        typer.Option(parser=past, metavar="WHEN", help="Start: 2d, 12h or 90m ago, or a time.", show_default=False),
    ],
    until: Annotated[
        datetime | None,
        typer.Option(parser=past, metavar="WHEN", help="End, in the same form as --since.", show_default="now"),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed deliveries.")] = False,
) -> None:
    """Send past events again, with their old ids."""
    asked: dict[str, object] = {"since": since.isoformat(), "failed_only": failed}
    if until is not None:
        asked["until"] = until.isoformat()
    sent = await webhooks.act(session.api.http, webhook, "replay", asked)
    session.printer.whole(sent, lambda: details(sent))


async def _wanted(
    session: Session, address: str, types: list[str] | None, collections: list[str] | None, description: str | None
) -> Mapping[str, Any]:
    """What was given, as the gateway takes it."""
    wanted: dict[str, Any] = {"url": address}
    if types:
        wanted["types"] = types
    if collections:
        wanted["collection_ids"] = [await session.api.collection_id(it) for it in collections]
    if description is not None:
        wanted["description"] = description
    return wanted


def _row(webhook: Mapping[str, Any]) -> dict[str, Any]:
    """For people: no filter is said as such."""
    shown = {name: value for name, value in webhook.items() if value is not None}
    collections = shown.pop("collection_ids", None)
    state = "enabled" if shown.pop("enabled") else f"disabled: {webhook['disabled_reason']}"
    if webhook["failing_since"] is not None and webhook["enabled"]:
        state = f"failing since {webhook['failing_since'][:19].replace('T', ' ')}"
    return {
        **shown,
        "types": ", ".join(webhook["types"]) or "all",
        "collections": "all" if collections is None else ", ".join(collections),
        "state": state,
    }


def _delivery(told: Mapping[str, Any]) -> dict[str, Any]:
    last = told["last"] or {}
    return {
        **told,
        "last": last.get("code") or last.get("status") or "",
        "next_attempt_at": (told["next_attempt_at"] or "")[:19].replace("T", " "),
        "created": told["created"][:19].replace("T", " "),
    }
