"""The console's pages as a browser without scripts meets them, on the real gateway."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aperag_testing.browser import HTML
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from aperag_testing.client import Client
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)

TEA = b"# Tea\n\nGreen tea is steamed soon after it was picked; black tea withers first.\n"
PAGES = [
    "/",
    "/collections",
    "/collections/new",
    "/search",
    "/chats",
    "/jobs",
    "/jobs/dead-letters",
    "/jobs/timers",
    "/traces",
    "/bots",
    "/bots/new",
    "/admin/users",
    "/admin/models",
    "/admin/models/local",
    "/admin/settings",
    "/admin/audit",
    "/account",
    "/events",
    "/jobs/all",
    "/integrations",
    "/integrations/keys",
    "/integrations/webhooks",
    "/integrations/subscriptions",
]
PAGE_BYTES = 150_000
"""Budget of a page with all that it loads."""


async def shown(http: httpx.AsyncClient, path: str, **request: Any) -> str:
    answer = await http.get(path, **request)
    assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
    return answer.text


@pytest.fixture
def title() -> str:
    return f"Tea {uuid.uuid4().hex[:8]}"


async def collection_of(person: httpx.AsyncClient, title: str) -> str:
    """Made by the form; its path."""
    form = {
        "title": title,
        "description": "<b>All</b> about tea",
        "vector": "on",
        "fulltext": "on",
        "language": "en-US",
    }
    answer = await person.post("/collections", data=form)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def searchable(person: httpx.AsyncClient, client: Client, collection: str, name: str, body: bytes) -> str:
    """Uploaded by the form that scripts use; the document's path once it has settled."""
    async with client.events() as log:
        files = {"files": (name, body)}
        answer = await person.post(f"{collection}/documents", files=files, headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        (document,) = answer.json()["items"]
        await log.until_ended(document["task_id"])
    return f"{collection}/documents/{document['id']}"


@pytest.mark.parametrize("language", ["en", "ko", "zh"])
@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_there_in_every_language_and_under_the_policy(
    person: httpx.AsyncClient, path: str, language: str
) -> None:
    answer = await person.get(path, headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.text[:500]
    assert f'<html lang="{language}"' in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    # What the policy would refuse: inline scripts, handlers and styles, and anything of another site.
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", answer.text)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', answer.text)


async def test_no_link_leads_nowhere(person: httpx.AsyncClient) -> None:
    seen: set[str] = set()
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        if path in seen or len(seen) > 150:
            continue
        seen.add(path)
        answer = await person.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
        assert answer.status_code == 200, path
        if "text/html" in answer.headers["content-type"] and len(answer.text) < 400_000:
            links = (link.split("#")[0].replace("&amp;", "&") for link in re.findall(r'href="(/[^"]*)"', answer.text))
            # Further pages of lists and filters are the same pages.
            waiting += [link for link in links if "?" not in link]
    assert len(seen) > 20


async def test_a_page_with_all_that_it_loads_stays_small(person: httpx.AsyncClient) -> None:
    page = await shown(person, "/")
    answers = [await person.get(path) for path in set(re.findall(r'(?:src|href)="(/static/[^"#]+)', page))]
    scripts = ("live.js", "follow.js", "sse.js", "morph.js", "worker.js")
    base = answers[0].request.url.path.rsplit("/", 1)[0]
    answers += [await person.get(f"{base}/{name}") for name in scripts]
    assert all(it.status_code == 200 for it in answers)
    assert all("immutable" in it.headers["cache-control"] for it in answers)
    assert len(page) + sum(len(it.content) for it in answers) < PAGE_BYTES


async def test_a_stranger_is_led_to_the_sign_in_and_back(stranger: httpx.AsyncClient, stack: Stack) -> None:
    answer = await stranger.get("/search?q=tea")
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin?next=/search%3Fq%3Dtea")
    assert 'value="/search?q=tea"' in await shown(stranger, answer.headers["location"])
    form = {"username": "admin", "password": stack.admin_password, "next": "/search?q=tea"}
    answer = await stranger.post("/signin", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/search?q=tea")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


async def test_a_wrong_password_says_so_on_the_page(stranger: httpx.AsyncClient) -> None:
    origin = str(stranger.base_url).rstrip("/")
    form = {"username": "admin", "password": "wrong", "next": "/"}
    answer = await stranger.post("/signin", data=form, headers={"Referer": f"{origin}/signin"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")
    assert "Invalid credentials" in await shown(stranger, "/signin")
    assert "Invalid credentials" not in await shown(stranger, "/signin"), "it is said once"


async def test_an_api_key_opens_the_console_too(stranger: httpx.AsyncClient, stack: Stack) -> None:
    answer = await stranger.post("/signin", data={"key": stack.api_key, "next": "/"})
    assert answer.status_code == 303
    assert "admin" in await shown(stranger, "/account")
    answer = await stranger.post("/signin", data={"key": "sk-" + "0" * 32, "next": "/"})
    assert "console_key=" not in answer.headers.get("set-cookie", "")


async def test_whoever_signs_out_is_out_everywhere(person: httpx.AsyncClient) -> None:
    session = person.cookies["session"]
    assert (await person.post("/signout")).status_code == 303
    person.cookies.set("session", session)
    assert (await person.get("/")).status_code == 303


async def test_another_sites_page_cannot_act_for_a_person(person: httpx.AsyncClient, title: str) -> None:
    headers = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    answer = await person.post("/collections", data={"title": title}, headers=headers)
    assert answer.status_code == 403
    assert title not in await shown(person, "/collections")


async def test_a_document_is_uploaded_found_and_its_passage_opened(
    person: httpx.AsyncClient, client: Client, title: str
) -> None:
    collection = await collection_of(person, title)
    document = await searchable(person, client, collection, "tea.md", TEA)
    listed = await shown(person, collection)
    assert "tea.md" in listed
    assert "Searchable" in listed
    assert "&lt;b&gt;All&lt;/b&gt;" in listed, "what people write is escaped"
    hits = await shown(person, "/search", params={"q": "how is green tea steamed", "collection": collection[13:]})
    assert "<mark>steamed</mark>" in hits
    passage = re.search(rf'href="({document}\?chunk=[^"#]+)#', hits)
    assert passage, hits
    assert 'class="cited"' in await shown(person, passage[1])
    sent = await person.get(f"{document}/download")
    assert sent.content == TEA
    assert sent.headers["content-disposition"].startswith("attachment")
    page = await shown(person, document)
    assert "waits" in page
    assert re.search(r'<rect class="works"', page)
    trace = re.search(r'href="(/traces/[0-9a-f]{32})"', page)
    assert trace

    async def whole() -> bool:
        spans = await shown(person, trace[1])
        return "process aperag.cmd.index.build.vector" in spans and '<span class="tag">console</span>' in spans

    await until(whole, within=30)  # spans arrive in batches


async def test_a_failed_document_says_why_and_what_to_do_and_can_be_tried_again(
    person: httpx.AsyncClient, client: Client, title: str
) -> None:
    collection = await collection_of(person, title)
    document = await searchable(person, client, collection, "broken.pdf", b"%PDF-1.4 nonsense")
    page = await shown(person, document)
    assert "CORRUPT_DOCUMENT" in page
    assert "The file is damaged." in page
    async with client.events() as log:
        answer = await person.post(document, data={"action": "rebuild", "kind": ["vector", "fulltext"]})
        assert answer.headers["location"] == document
        await log.until(lambda it: "FAILED" in it.outcomes().values())
    page = await shown(person, "/jobs/dead-letters", params={"collection_id": collection[13:]})
    assert "broken.pdf" in page
    assert "broken.pdf" in await shown(person, collection, params={"status": "FAILED"})
    assert "broken.pdf" not in await shown(person, collection, params={"status": "COMPLETE"})
    assert "broken.pdf" in await shown(person, collection, params={"status": "nonsense"})


async def test_a_batch_of_dead_letters_is_counted_before_it_is_requeued(
    person: httpx.AsyncClient, client: Client, title: str
) -> None:
    collection = await collection_of(person, title)
    for number in range(2):
        await searchable(person, client, collection, f"broken-{number}.pdf", f"%PDF-1.4 nonsense {number}".encode())
    matching = {"collection_id": collection[13:]}
    counted = (await person.post("/jobs/dead-letters/requeue", data=matching)).text
    assert "2 dead letters match" in counted
    assert matching["collection_id"] in counted
    async with client.events() as log:
        answer = await person.post("/jobs/dead-letters/requeue", data={**matching, "sure": "1"})
        assert answer.status_code == 303, answer.text
        await log.until(lambda it: len(it.outcomes()) == 2)
    assert "Requeued 2 dead letters as 2 tasks." in await shown(person, "/jobs/dead-letters")


async def test_a_list_keeps_its_filter_and_page_in_its_address(person: httpx.AsyncClient, title: str) -> None:
    await collection_of(person, title)
    found = await shown(person, "/collections", params={"search": title.upper()})
    assert title in found
    assert f'value="{title.upper()}"' in found
    assert title not in await shown(person, "/collections", params={"search": "nothing of the kind"})
    assert title in await shown(person, "/collections", params={"search": title, "page": "99"})
    assert await shown(person, "/admin/audit", params={"http_method": "POST", "page": "x", "username": ""})


async def test_settings_of_a_collection_that_the_form_does_not_show_stay(
    person: httpx.AsyncClient, client: Client, title: str
) -> None:
    config = {"enable_knowledge_graph": True, "index_prompts": {"graph": "Find names"}, "language": "ko-KR"}
    made = await client.json("POST", "/collections", json={"title": title, "config": config})
    form = {"title": f"{title}!", "description": "", "vector": "on", "language": "en-US"}
    await person.post(f"/collections/{made['id']}/settings", data=form)
    after = await client.json("GET", f"/collections/{made['id']}")
    assert after["title"] == f"{title}!"
    assert after["config"]["index_prompts"]["graph"] == "Find names"
    assert after["config"]["enable_knowledge_graph"]
    assert not after["config"]["enable_fulltext"]
    await person.post(f"/collections/{made['id']}/delete")
    assert (await person.get(f"/collections/{made['id']}")).status_code == 404


async def test_an_answer_is_streamed_as_html_and_kept_with_its_passages(
    person: httpx.AsyncClient, client: Client, title: str
) -> None:
    collection = await collection_of(person, title)
    await searchable(person, client, collection, "tea.md", TEA)
    asked = {"query": "How is green tea made?", "collections": collection[13:]}
    answer = await person.post("/ask", data=asked)
    assert answer.status_code == 303, answer.text
    chat = answer.headers["location"].split("#")[0]
    told = re.search(r'data-open="(/turns/[^"]+)"', await shown(person, chat))
    if told:  # the built-in model may have answered meanwhile
        events = [line for line in (await shown(person, told[1])).splitlines() if line]
        assert "event: end" in events
        assert any(json.loads(line[6:]).get("blocks") for line in events if line.startswith("data: "))

    async def whole() -> str:
        page = await shown(person, chat)
        return page if 'data-open="/turns' not in page else ""

    page = await until(whole, within=60)
    assert "steamed" in page
    assert re.search(r'<button class="source" popovertarget="(turn\w+-1)">.*id="\1"', page, re.DOTALL)
    message = re.search(r'name="message" value="([^"]+)"', page)
    assert message
    form = re.search(r'name="message_id" value="(\w+)"', page)
    assert form
    again = {"query": "And black tea?", "message_id": form[1]}
    for _ in range(2):
        assert (await person.post(chat, data=again)).status_code == 303
    assert (await shown(person, chat)).count('<p class="question">And black tea?</p>') == 1, "sent twice, asked once"
    await person.post(f"{chat}/feedback", data={"message": message[1], "type": "good", "turn": "t"})
    assert 'aria-pressed="true"' in await shown(person, chat)


async def test_a_key_is_shown_once_and_revoked(person: httpx.AsyncClient, title: str) -> None:
    made = (await person.post("/integrations/keys", data={"description": title, "scope": "read", "days": "2"})).text
    key = re.search(r"<code>(sk-[0-9a-f]{32})</code>", made)
    assert key
    listed = await shown(person, "/integrations/keys")
    assert key[1] not in listed
    row = re.search(rf"{title}.*?/keys/([^/]+)/revoke", listed, re.DOTALL)
    assert row
    await person.post(f"/integrations/keys/{row[1]}/revoke")
    assert title not in await shown(person, "/integrations/keys")


async def test_an_invited_person_registers_and_sees_no_administration(
    person: httpx.AsyncClient, stack: Stack, title: str
) -> None:
    email = f"{uuid.uuid4().hex}@example.org"
    await person.post("/admin/users", data={"email": email, "role": "ro"})
    page = await shown(person, "/admin/users")
    token = re.search(rf"{email}.*?register\?token=([\w-]+)", page, re.DOTALL)
    assert token
    async with httpx.AsyncClient(base_url=stack.url_of("console"), headers=HTML, timeout=30, trust_env=False) as guest:
        form = {
            "token": token[1],
            "username": email[:20],
            "email": email,
            "password": "correct horse battery",
            "next": "/",
        }
        answer = await guest.post("/register", data=form)
        assert answer.status_code == 303, answer.text
        home = await shown(guest, "/")
        assert "/admin/users" not in home
        assert (await guest.get("/admin/users")).status_code == 403
        refused = await guest.post(
            "/collections", data={"title": title}, headers={"Referer": f"{guest.base_url}/collections/new"}
        )
        assert refused.headers["location"] == "/collections/new"
        assert "may read and search only" in await shown(guest, "/collections/new")


async def test_what_is_not_there_is_a_page_that_says_so(person: httpx.AsyncClient) -> None:
    for path in ("/nonsense", "/collections/col0000000000000000", "/chats/bot0/chat0", "/traces/" + "0" * 31):
        answer = await person.get(path)
        assert answer.status_code == 404, path
        assert "Something went wrong" in answer.text
    answer = await person.get("/collections/..%2F..%2Fuser")
    assert answer.status_code == 404


async def test_language_and_theme_are_kept_by_the_browser(stranger: httpx.AsyncClient) -> None:
    await stranger.post("/preferences", data={"lang": "ko", "theme": "dark"})
    page = await shown(stranger, "/signin")
    assert '<html lang="ko" data-theme="dark">' in page
    await stranger.post("/preferences", data={"lang": "xx", "theme": "<script>"})
    assert '<html lang="ko" data-theme="dark">' in await shown(stranger, "/signin")


async def test_events_come_through_as_the_gateway_sends_them(
    person: httpx.AsyncClient, client: Client, title: str
) -> None:
    collection = await collection_of(person, title)
    async with person.stream("GET", "/live", headers={"Accept": "text/event-stream"}) as live:
        assert live.headers["content-type"].startswith("text/event-stream")
        lines = live.aiter_lines()
        await searchable(person, client, collection, "tea.md", TEA)
        async for line in lines:
            if line == "event: document.indexed":
                break
    assert (await httpx.AsyncClient(base_url=person.base_url).get("/live")).status_code == 401
