"""How to connect: what a key opens at NATS, and what the gateway says of its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from aperag_console.gateway.credentials import KEY, Credential
from aperag_console.gateway.failures import GatewayFailure
from aperag_console.integrations.programs import CA_FILE, programs
from aperag_console.web.page import api_of, open_page

if TYPE_CHECKING:
    from starlette.requests import Request

    from aperag_console.gateway.client import Api

DESCRIPTIONS = ("/docs", "/docs/messages", "/asyncapi.json", "/openapi.json")
"""What the gateway says of itself to everybody; people know only the console's address."""
GUIDES = ("docs/events.md", "docs/nats.md", "docs/ingest.md", "docs/webhooks.md")
COMMANDS = "aperag nats context --save aperag\nnats --context aperag subscribe 'aperag.evt.{owner}.>'"
KEPT = ("content-type", "content-security-policy")


async def show(request: Request) -> Response:
    page = await open_page(request)
    commands = COMMANDS.format(owner=page.user["id"] if page.user else "")
    return page.render("connect.html", commands=commands, guides=GUIDES, **await access(page.api))


async def access(api: Api) -> dict[str, Any]:
    """Of whoever signed in with a key; a login is told nothing, for connections are a key's."""
    if api.credential is None or api.credential.cookie != KEY:
        return {"access": None, "programs": {}, "ca_file": CA_FILE}
    try:
        found = await api.get("nats")
    except GatewayFailure as failure:
        if failure.status is None:
            raise
        return {"access": None, "programs": {}, "ca_file": CA_FILE}
    return {"access": found, "programs": programs(found), "ca_file": CA_FILE}


async def access_of(request: Request, key: str) -> dict[str, Any]:
    """Of a key that has just been made."""
    return await access(api_of(request, Credential(KEY, key)))


async def describe(request: Request) -> Response:
    answer = await api_of(request).describe(request.url.path)
    return Response(answer.content, headers={name: answer.headers[name] for name in KEPT if name in answer.headers})


ROUTES = [Route("/integrations", show), *(Route(path, describe) for path in DESCRIPTIONS)]
