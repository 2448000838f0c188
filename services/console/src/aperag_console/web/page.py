"""One page for one person: their credential, language and theme, and the templates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse

from aperag_console.gateway.credentials import Credential, credential_of
from aperag_console.gateway.failures import GatewayFailure
from aperag_console.web import assets, flash, formats, markup
from aperag_console.web.texts import LANGUAGES, Texts, texts_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from aperag_common.http.front import Front
    from aperag_console.gateway.client import Api, Gateway

THEME = "theme"
THEMES = ("auto", "light", "dark")
ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Page:
    """What a handler has of a request; ``user`` is None on pages before the sign-in."""

    request: Request
    api: Api
    texts: Texts
    user: Mapping[str, Any] | None = None

    @property
    def admin(self) -> bool:
        return self.user is not None and self.user["role"] == ADMIN

    @property
    def formats(self) -> formats.Formats:
        return formats.Formats(self.texts)

    def query(self, name: str, default: str = "") -> str:
        return self.request.query_params.get(name, default).strip()

    def number(self, name: str, default: int, *, most: int = 1_000_000) -> int:
        """From the address, which people edit: what is no number from 1 on is the default."""
        text = self.query(name)
        return min(int(text), most) if text.isascii() and text.isdecimal() and int(text) else default

    def render(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        said = flash.read(self.request)
        shared = {
            "page": self,
            "t": self.texts,
            "user": self.user,
            "admin": self.admin,
            "languages": LANGUAGES,
            "theme": theme_of(self.request),
            "path": self.request.url.path,
            "said": said,
            "f": self.formats,
        }
        response = HTMLResponse(templates().get_template(template).render(shared | context), status)
        response.headers["Cache-Control"] = "no-store"
        if said is not None:
            flash.forget(response)
        return response

    def url(self, **changes: Any) -> str:
        """The present address with some parameters changed; None takes one away."""
        params = dict(self.request.query_params.items()) | changes
        kept = {name: value for name, value in params.items() if value not in {None, ""}}
        return f"{self.request.url.path}?{urlencode(kept)}" if kept else self.request.url.path

    def go(self, path: str, said: str = "", **values: Any) -> RedirectResponse:
        """To another page, which then shows the text of the key ``said``."""
        response = RedirectResponse(path, 303)
        if said:
            flash.write(response, self.texts(said, **values))
        return response


async def open_page(request: Request, *, admin: bool = False) -> Page:
    """For whoever is signed in. Raises ``GatewayFailure`` with the status 401 for a stranger, 403 without the role."""
    api = api_of(request)
    if api.credential is None:
        raise GatewayFailure("failure.signed_out", status=401)
    page = Page(request, api, texts_for(request), await api.get("user"))
    if admin and not page.admin:
        raise GatewayFailure("failure.admins_only", status=403)
    return page


def open_door(request: Request) -> Page:
    """For pages that need nobody to be signed in."""
    return Page(request, api_of(request), texts_for(request))


def api_of(request: Request, credential: Credential | None = None) -> Api:
    gateway: Gateway = request.app.state.gateway
    front: Front = request.app.state.front
    return gateway.acting_as(credential or credential_of(request), client=front.client(request))


def theme_of(request: Request) -> str:
    chosen = request.cookies.get(THEME, "")
    return chosen if chosen in THEMES else THEMES[0]


def macro(template: str, name: str) -> Callable[..., str]:
    """A part of a page by itself."""
    found: Callable[..., str] = getattr(templates().get_template(template).module, name)
    return found


@cache
def templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("aperag_console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"asset": assets.url}
    environment.filters |= {"markdown": markup.markdown, "marked": markup.marked}
    return environment
