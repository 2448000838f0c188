"""Pages of signing in."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from aperag_console.gateway.credentials import KEY, SESSION, Credential
from aperag_console.web.forms import Form, form_of
from aperag_console.web.page import THEME, THEMES, api_of, open_door
from aperag_console.web.refusals import SIGN_IN, local, page_before
from aperag_console.web.texts import COOKIE as LANGUAGE
from aperag_console.web.texts import LANGUAGES

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request

    from aperag_console.web.page import Page

DAY = 86_400
YEAR = 365 * DAY
LANDING = "console_next"


async def show(request: Request) -> Response:
    return await _door(request, register=False)


async def show_registration(request: Request) -> Response:
    return await _door(request, register=True)


async def _door(request: Request, *, register: bool) -> Response:
    page = open_door(request)
    config = await page.api.get("config")
    return page.render(
        "signin.html",
        first=not config["admin_user_exists"],
        register=register,
        open_to_all=config["register_mode"] == "unlimited",
        providers=config["providers"],
        token=page.query("token"),
        next=local(page.query("next", "/")),
    )


async def enter(request: Request) -> Response:
    """With a name and a password, or with an API key."""
    page, form = open_door(request), await form_of(request)
    response = RedirectResponse(local(form.text("next")), 303)
    if key := form.text("key"):
        await api_of(request, Credential(KEY, key)).get("user")
        _keep(request, response, KEY, key, DAY)
        return response
    return await _with_password(page, form, response)


async def _with_password(page: Page, form: Form, response: RedirectResponse) -> Response:
    body = {"username": form.text("username"), "password": form.text("password", strip=False)}
    _take_over(page.request, await page.api.send("POST", "login", json=body), response)
    return response


async def register(request: Request) -> Response:
    """And in at once: the password is known."""
    page, form = open_door(request), await form_of(request)
    wanted = {name: form.text(name) or None for name in ("token", "username", "email")}
    await page.api.post("register", body={**wanted, "password": form.text("password", strip=False)})
    return await _with_password(page, form, RedirectResponse(local(form.text("next")), 303))


async def leave(request: Request) -> Response:
    """The session ends at every replica; a key stays what it is, and is forgotten here."""
    page = open_door(request)
    if SESSION in request.cookies:
        ending = api_of(request, Credential(SESSION, request.cookies[SESSION]))
        await ending.post("logout")
    response = page.go(SIGN_IN)
    for cookie in (SESSION, KEY):
        response.delete_cookie(cookie, httponly=True, samesite="lax")
    return response


async def to_provider(request: Request) -> Response:
    page, name = open_door(request), request.path_params["provider"]
    answer = await page.api.send("GET", "auth", name, "authorize")
    response = RedirectResponse(answer.json()["authorization_url"], 303)
    _take_over(request, answer, response)
    _keep(request, response, LANDING, local(page.query("next", "/")), DAY)
    return response


async def from_provider(request: Request) -> Response:
    """Where the provider sends the browser back to."""
    page, name = open_door(request), request.path_params["provider"]
    cookie = f"aperag_oauth_{name}"
    headers = {"Cookie": f"{cookie}={request.cookies.get(cookie, '')}"}
    answer = await page.api.send("GET", "auth", name, "callback", params=dict(request.query_params), headers=headers)
    response = RedirectResponse(local(request.cookies.get(LANDING, "/")), 303)
    _take_over(request, answer, response)
    return response


async def prefer(request: Request) -> Response:
    """Language and theme live in the browser, so they hold before anybody signs in."""
    form = await form_of(request)
    response = RedirectResponse(page_before(request), 303)
    for name, known in ((LANGUAGE, LANGUAGES), (THEME, THEMES)):
        if (value := form.text(name)) in known:
            _keep(request, response, name, value, YEAR)
    return response


def _keep(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    secure = request.app.state.secure or request.app.state.front.secure(request)
    response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)


def _take_over(request: Request, answer: httpx.Response, response: Response) -> None:
    """The gateway's cookies become the browser's; with a new session an older key counts no more."""
    for header in answer.headers.get_list("set-cookie"):
        for name, morsel in SimpleCookie(header).items():
            seconds: Any = morsel["max-age"]
            _keep(request, response, name, morsel.value, int(seconds) if seconds else 0)
            if name == SESSION:
                response.delete_cookie(KEY, httponly=True, samesite="lax")


ROUTES = [
    Route(SIGN_IN, show),
    Route(SIGN_IN, enter, methods=["POST"]),
    Route("/register", show_registration),
    Route("/register", register, methods=["POST"]),
    Route("/signout", leave, methods=["POST"]),
    Route("/auth/{provider}", to_provider),
    Route("/auth/{provider}/callback", from_provider),
    Route("/preferences", prefer, methods=["POST"]),
]
