"""``aperag subscriptions``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aperag_cli.arguments import Yes, confirm
from aperag_cli.client import subscriptions
from aperag_cli.commands.keys import moment
from aperag_cli.output import details, table
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from datetime import datetime

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Manage durable subscriptions of other services to events."
)

COLUMNS = ("id", "name", "types", "consumer", "start", "created")
Wanted = Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="Id or name of the subscription.")]


def since(value: str) -> datetime:
    """A time that has passed; ``2h`` is two hours ago."""
    return moment(value, past=True)


Types = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="Event type, for example document.indexed, or all of one kind: document.*. Can be repeated.",
        show_default="all events",
    ),
]
Sequence = Annotated[
    int | None,
    typer.Option(min=1, metavar="NUMBER", help="Start at this message of the stream.", show_default="from now"),
]
Since = Annotated[
    Any,
    typer.Option(
        "--since",
        parser=since,
        metavar="WHEN",
        help="Start at this time; 2h means two hours ago.",
        show_default="from now",
    ),
]
AllOwners = Annotated[
    bool, typer.Option("--all-owners", help="Events of all users. For administrators; this is logged in the audit log.")
]


@app.command()
@remote
async def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the subscription, unique among yours.")],
    *,
    type_: Types = None,
    sequence: Sequence = None,
    start: Since = None,
    all_owners: AllOwners = False,
) -> None:
    """Create a subscription. Another service reads it over NATS at its own pace: see `aperag nats context`.

    Example: aperag subscriptions create warehouse --type "document.*" --since 2h
    """
    body = {"name": name, "types": type_ or None, "start": _begin(sequence, start), "all_owners": all_owners}
    made = await subscriptions.create(session.api.http, body)
    session.printer.whole(made, lambda: details(_shown(made)))
    session.printer.note(
        f"Read from the consumer {made['consumer']}; a client that is already connected must reconnect first."
    )


@app.command("list")
@remote
async def list_(session: Session) -> None:
    """List your subscriptions."""
    found = await subscriptions.subscriptions(session.api.http)
    session.printer.whole(found, lambda: table([_shown(it) for it in found], COLUMNS))


@app.command()
@remote
async def info(session: Session, subscription: Wanted) -> None:
    """Show a subscription, and how many events are waiting."""
    http = session.api.http
    found = await subscriptions.state(http, await subscriptions.find(http, subscription))
    session.printer.whole(found, lambda: details(_shown(found)))


@app.command()
@remote
async def delete(session: Session, subscription: Wanted, *, yes: Yes = False) -> None:
    """Delete a subscription with its waiting events."""
    http = session.api.http
    subscription_id = await subscriptions.find(http, subscription)
    confirm(f"Delete the subscription {subscription}?", yes=yes)
    await subscriptions.delete(http, subscription_id)
    told = {"id": subscription_id, "deleted": True}
    session.printer.whole(told, lambda: details({**told, "deleted": "yes"}))


def _begin(sequence: int | None, start: datetime | None) -> object:
    if sequence is not None and start is not None:
        message = "give --sequence or --since, not both"
        raise typer.BadParameter(message, param_hint="--since")
    if sequence is not None:
        return {"sequence": sequence}
    return "now" if start is None else {"time": start.isoformat()}


def _shown(subscription: dict[str, Any]) -> dict[str, Any]:
    """For people: what it brings and where it begins, in words."""
    start = subscription["start"]
    begins = start["time"] or f"message {start['sequence']}"
    types = ", ".join(subscription["types"] or ["all"])
    owners = "everybody" if subscription["all_owners"] else None
    return {**subscription, "types": types, "start": begins, "all_owners": owners}
