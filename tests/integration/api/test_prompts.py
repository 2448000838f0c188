"""Prompts of users and of the installation, tried and validated in a sandbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_api.models.prompts.builtin import BUILT_IN, PromptType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx

Person = Any

SUMMARY = "Summarise {{ content }} in {{ language }}."
GENERAL = "Say in {{ language }} what is in {{ content }}."


@pytest_asyncio.fixture
async def admin(make_person: Callable[..., Awaitable[Person]]) -> Person:
    return await make_person("admin")


async def summary_of(person: Person) -> tuple[str, str, bool]:
    prompt = (await person.http.get("/prompts/user")).json()["index_summary"]
    return prompt["content"], prompt["source"], prompt["customized"]


async def test_whoever_wrote_none_has_the_built_in_prompts(alice: Person) -> None:
    prompts = (await alice.http.get("/prompts/user")).json()
    assert prompts.keys() == set(PromptType)
    for type_, prompt in prompts.items():
        built_in = BUILT_IN[PromptType(type_)]
        assert prompt == {
            "content": built_in.content, "source": "hardcoded", "customized": False, "description": built_in.description,
        }  # fmt: skip
    system = (await alice.http.get("/prompts/system")).json()
    assert {type_: prompt["content"] for type_, prompt in system.items()} == {t: b.content for t, b in BUILT_IN.items()}
    one = await alice.http.get("/prompts/system", params={"type": "index_graph"})
    assert one.json() == system["index_graph"]
    assert one.json()["type"] == "index_graph"


async def test_a_prompt_of_ones_own_holds_for_oneself_alone(alice: Person, mallory: Person) -> None:
    changed = await alice.http.put("/prompts/user", json={"prompts": {"index_summary": SUMMARY}})
    assert changed.json()["updated"] == ["index_summary"]
    assert await summary_of(alice) == (SUMMARY, "user", True)
    assert await summary_of(mallory) == (BUILT_IN[PromptType.INDEX_SUMMARY].content, "hardcoded", False)
    removed = await alice.http.delete("/prompts/user/index_summary")
    assert removed.json()["source"] == "hardcoded"
    assert removed.json()["new_content"] == BUILT_IN[PromptType.INDEX_SUMMARY].content
    assert (await alice.http.delete("/prompts/user/index_summary")).status_code == 404


async def test_an_administrators_prompt_holds_for_everybody_without_their_own(
    admin: Person, alice: Person, mallory: Person
) -> None:
    await alice.http.put("/prompts/user", json={"prompts": {"index_summary": SUMMARY}})
    assert (await alice.http.put("/prompts/system", json={"prompts": {"index_summary": "x"}})).status_code == 403
    assert (await alice.http.delete("/prompts/system/index_summary")).status_code == 403
    changed = await admin.http.put("/prompts/system", json={"prompts": {"index_summary": GENERAL}})
    assert changed.status_code == 200
    assert await summary_of(mallory) == (GENERAL, "system", False)
    assert await summary_of(alice) == (SUMMARY, "user", True)
    assert (await alice.http.delete("/prompts/user/index_summary")).json()["new_content"] == GENERAL
    assert (await mallory.http.get("/prompts/system?type=index_summary")).json()["content"] == GENERAL
    assert (await admin.http.delete("/prompts/system/index_summary")).json()["source"] == "hardcoded"
    assert (await summary_of(alice))[1] == "hardcoded"


async def test_a_reset_takes_the_named_prompts_back_or_all(alice: Person) -> None:
    mine = {"index_summary": SUMMARY, "agent_system": "Be kind.", "index_vision": "Look."}
    await alice.http.put("/prompts/user", json={"prompts": mine})
    some = await alice.http.post("/prompts/user/reset", json={"types": ["agent_system", "agent_query"]})
    assert some.json()["reset"] == ["agent_system"]
    rest = await alice.http.post("/prompts/user/reset", json={})
    assert rest.json()["reset"] == ["index_summary", "index_vision"]
    assert {prompt["customized"] for prompt in (await alice.http.get("/prompts/user")).json().values()} == {False}


@pytest.mark.parametrize(
    ("prompts", "status"),
    [
        ({}, 400),
        ({"index_summary": ""}, 400),
        ({"index_summary": " \n"}, 400),
        ({"index_summary": "{{ content"}, 400),
        ({"index_summary": "{% nope %}"}, 400),
        ({"index_graph": SUMMARY, "nope": "x"}, 400),
        ({"agent_system": "Be kind.", "index_summary": "{% if %}"}, 400),
        ({"index_summary": "x" * 65_537}, 422),
        ({"index_summary": 1}, 422),
    ],
)
async def test_what_is_no_template_changes_nothing(alice: Person, prompts: dict[str, Any], status: int) -> None:
    answer = await alice.http.put("/prompts/user", json={"prompts": prompts})
    assert answer.status_code == status, answer.text
    assert {prompt["source"] for prompt in (await alice.http.get("/prompts/user")).json().values()} == {"hardcoded"}


@pytest.mark.parametrize(
    "refused",
    [
        ("DELETE", "/prompts/user/nope", None),
        ("POST", "/prompts/user/reset", {"types": ["nope"]}),
        ("POST", "/prompts/preview", {"template": "{{ nobody }}"}),
        ("POST", "/prompts/preview", {"template": "{{ ''.__class__ }}"}),
        ("POST", "/prompts/preview", {"template": "{{ 'a' * 10**9 }}"}),
    ],
)
async def test_what_cannot_be_done_is_refused_with_the_reason(alice: Person, refused: tuple[str, str, Any]) -> None:
    method, path, body = refused
    answer = await alice.http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER"), answer.text


async def test_a_template_is_tried_with_the_variables_given(alice: Person) -> None:
    body = {"template": "{{ q|upper }} in {{ all|length }}", "variables": {"q": "tea", "all": [1, 2]}}
    assert (await alice.http.post("/prompts/preview", json=body)).json() == {"rendered": "TEA in 2"}


async def test_a_template_is_validated_for_its_type(alice: Person) -> None:
    async def validated(template: str, type_: str = "index_summary") -> dict[str, Any]:
        answer = await alice.http.post("/prompts/validate", json={"type": type_, "template": template})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    assert await validated(SUMMARY) == {"valid": True, "errors": [], "warnings": []}
    missing = await validated("{{ content }} {{ author }}")
    assert missing["valid"] is False
    assert missing["errors"] == ["language is not used: a template of index_summary needs it"]
    assert [warning.split()[0] for warning in missing["warnings"]] == ["author"]
    broken = await validated("{{ content")
    assert (broken["valid"], len(broken["errors"])) == (False, 1)
    assert (await validated("Be kind.", "agent_system"))["valid"] is True
    unknown = await alice.http.post("/prompts/validate", json={"type": "nope", "template": "x"})
    assert unknown.status_code == 422


async def test_a_user_who_tries_many_templates_holds_up_neither_questions_nor_others_who_try_one(
    alice: Person, mallory: Person
) -> None:
    own = {"prompts": {"agent_query": "{{ query }}"}}
    assert (await mallory.http.put("/prompts/user", json=own)).status_code == 200
    nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    attack = [asyncio.create_task(mallory.http.post("/prompts/preview", json={"template": nested})) for _ in range(30)]
    done, _ = await asyncio.wait(attack, return_when=asyncio.FIRST_COMPLETED)
    refused = done.pop().result()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    asked = [await ask(person) for person in (alice, mallory)]
    assert [answer.status_code for answer in asked] == [202, 202]
    tried = await alice.http.post("/prompts/preview", json={"template": "{{ 1 + 1 }}"})
    assert (tried.status_code, tried.json()) == (200, {"rendered": "2"})
    assert not all(it.done() for it in attack), "nobody waited for the attack to end"
    await asyncio.gather(*attack)


async def ask(person: Person) -> httpx.Response:
    bot = (await person.http.post("/bots", json={"title": "Tea"})).json()["id"]
    chat = (await person.http.post(f"/bots/{bot}/chats", json={})).json()["id"]
    answer: httpx.Response = await person.http.post(f"/bots/{bot}/chats/{chat}/turns", json={"query": "tea?"})
    return answer
