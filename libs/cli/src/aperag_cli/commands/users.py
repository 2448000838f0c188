"""``aperag users``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from aperag_cli.arguments import Yes, confirm
from aperag_cli.client import users
from aperag_cli.output import details, table
from aperag_cli.remote import Session, remote

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Invite, list and delete users; change a password.")

COLUMNS = ("id", "username", "email", "role", "registration_source", "date_joined")
INVITED = ("email", "username", "role", "is_valid", "expires_at", "used_at", "token")


class Role(StrEnum):
    """``ro`` reads and searches only."""

    ADMIN = "admin"
    RW = "rw"
    RO = "ro"


@app.command("list")
@remote
async def list_users(session: Session) -> None:
    """List all users; without administrator rights, only yourself."""
    found = await users.users(session.api.http)
    session.printer.whole(found, lambda: table(found, COLUMNS))


@app.command()
@remote
async def invite(
    session: Session,
    email: Annotated[str, typer.Argument(metavar="ADDRESS", help="E-mail address of the person.")],
    *,
    role: Annotated[Role, typer.Option(help="Role of the new user.")] = Role.RW,
    username: Annotated[str | None, typer.Option(help="Name of the new user.", show_default=False)] = None,
) -> None:
    """Create an invitation. No mail is sent: give its token to the person, who registers with it."""
    made = await users.invite(session.api.http, email, role=role, username=username)
    session.printer.whole(made, lambda: details(made))


@app.command()
@remote
async def invitations(session: Session) -> None:
    """List invitations, and whether they can still be used."""
    found = await users.invitations(session.api.http)
    session.printer.whole(found, lambda: table(found, INVITED))


@app.command()
@remote
async def delete(
    session: Session,
    user: Annotated[str, typer.Argument(metavar="USER", help="Id, name or address.")],
    *,
    yes: Yes = False,
) -> None:
    """Delete a user with everything they own: collections, documents, keys."""
    found = await users.find(session.api.http, user)
    confirm(f"Delete {found['username']} with all their collections and documents, ? This cannot be undone.", yes=yes)
    answer = await users.delete(session.api.http, found["id"])
    session.printer.whole({"id": found["id"], **answer}, lambda: details({"id": found["id"], **answer}))


@app.command()
@remote
async def password(session: Session) -> None:
    """Change the password of the user whose key is used. You are asked for it. Other sessions of the user end."""
    me = await users.me(session.api.http)
    old = typer.prompt(f"Password of {me['username']} now", hide_input=True, err=True)
    new = typer.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
    changed = await users.change_password(session.api.http, me["username"], old=old, new=new)
    session.printer.whole(changed, lambda: details(changed))
