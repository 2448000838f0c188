"""Templates that strangers write: what they can do, and that nothing they write harms or outlasts its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_api.models.prompts.builtin import BUILT_IN, PromptType
from aperag_api.models.prompts.decide import judged, prompt_of
from aperag_common.templates.rendering import Templates
from aperag_common.templates.sandbox import MOST_OUTPUT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ALICE = "alice"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def templates() -> AsyncIterator[Templates]:
    """One process for all of these tests: what one template does must not reach the next."""
    templates = Templates()
    yield templates
    await templates.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_template_gets_the_variables_it_names(templates: Templates) -> None:
    rendered = await templates.render(
        "{% for c in all %}{{ loop.index }}={{ c.id }} {% endfor %}", {"all": [{"id": "x"}]}, ALICE
    )
    assert rendered == ("1=x ", None)
    examined = await templates.examine(
        "{% set a = 1 %}{{ a }}{{ b.c }}{% for d in e %}{{ d }}{{ range(3) }}{% endfor %}", ALICE
    )
    assert (examined.problem, examined.variables) == (None, {"b", "e"})


ESCAPES = {
    "class of a string": "{{ ''.__class__ }}",
    "subclasses": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "by subscript": "{{ ''['__class__'] }}",
    "by filter": "{{ ''|attr('__class__') }}",
    "by format": "{{ '{0.__class__}'.format('') }}",
    "by format_map": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "a function's globals": "{{ range.__globals__ }}",
    "the template itself": "{{ self.__init__.__globals__ }}",
    "the environment": "{{ self._TemplateReference__context.environment }}",
    "globals that others have": "{{ cycler.__init__.__globals__.os }}",
    "a macro's code": "{% macro m() %}{% endmacro %}{{ m.__call__.__globals__ }}",
    "another template": "{% include '/etc/passwd' %}",
    "a parent": "{% extends 'x' %}",
    "an import": "{% import 'os' as os %}",
    "an unknown filter": "{{ 1|nope }}",
    "an unknown tag": "{% exec %}",
    "an unknown variable": "{{ nobody }}",
    "a changed list": "{{ l.append(1) }}",
    "broken": "{{ ",
}


@pytest.mark.parametrize("template", ESCAPES.values(), ids=ESCAPES)
async def test_what_leads_out_of_a_template_ends_in_a_reason(templates: Templates, template: str) -> None:
    rendered = await templates.render(template, {"l": []}, ALICE)
    assert rendered.text is None
    assert rendered.problem
    assert "/" not in rendered.problem.replace("/etc/passwd", "")


BOMBS = {
    "a long string": "{{ 'a' * 10**9 }}",
    "a string that is computed while it is compiled": "{{ 'a'|center(10**9) }}",
    "a string longer than memory": "{{ 'a' * 10**20 }}",
    "a long list": "{{ [1] * 10**9 }}",
    "a large power": "{{ 10**100000000 }}",
    "squares of squares": "{% macro m(x, n) %}{% if n %}{{ m(x * x, n - 1) }}{% endif %}{% endmacro %}{{ m(9, 60) }}",
    "a large range": "{{ range(10**9)|list }}",
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "much output": "{% for a in range(99999) %}{{ 'aaaaaaaaaa' }}{% endfor %}",
    "a string that doubles": "{% macro m(x, n) %}{% if n %}{{ m(x ~ x, n - 1) }}{% endif %}{% endmacro %}{{ m('a', 60) }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a deep expression": "{{ " + "(" * 20_000 + ")" * 20_000 + " }}",
    "deep blocks": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "a join of much": "{{ (['a' * 1000] * 10**6)|join }}",
    "a replacement that grows": "{{ ('a' * 10**5).replace('a', 'a' * 10**5) }}",
}


@pytest.mark.parametrize("template", BOMBS.values(), ids=BOMBS)
async def test_what_unfolds_without_end_ends_in_a_reason(templates: Templates, template: str) -> None:
    rendered = await templates.render(template, {}, ALICE)
    assert rendered.text is None
    assert rendered.problem
    examined = await templates.examine(template, ALICE)
    assert examined.problem is None or isinstance(examined.problem, str)
    assert (await templates.render("{{ 1 + 1 }}", {}, ALICE)).text == "2"


async def test_as_much_as_is_allowed_is_rendered_whole(templates: Templates) -> None:
    template = "{% for a in range(1000) %}{{ b }}{% endfor %}"
    size = MOST_OUTPUT // 1000
    assert len((await templates.render(template, {"b": "b" * size}, ALICE)).text or "") == 1000 * size
    assert (await templates.render(template, {"b": "b" * (size + 1)}, ALICE)).text is None


@pytest.mark.parametrize("type_", PromptType)
async def test_each_built_in_prompt_uses_what_it_is_given_and_nothing_else(
    templates: Templates, type_: PromptType
) -> None:
    content = BUILT_IN[type_].content
    examined = await templates.examine(content, ALICE)
    verdict = judged(type_, content, examined.problem, examined.variables)
    assert (verdict.valid, verdict.errors, verdict.warnings) == (True, [], [])


async def test_the_built_in_prompts_render(templates: Templates) -> None:
    given: dict[str, Any] = {
        "query": "How is tea made?", "collections": [{"id": "col1", "title": "Tea"}], "web_search_enabled": False,
        "chat_id": None, "language": "en-US", "entity_types": ["person", "geo"], "input_text": "Tea.", "content": "Tea.",
    }  # fmt: skip
    for built_in in BUILT_IN.values():
        variables = {name: given[name] for name in built_in.variables}
        assert (await templates.render(built_in.content, variables, ALICE)).problem is None
    query = (await templates.render(BUILT_IN[PromptType.AGENT_QUERY].content, given, ALICE)).text or ""
    assert query.startswith("How is tea made?\n")
    assert "  - Tea (id col1)\n- Web search is not allowed." in query
    graph = (await templates.render(BUILT_IN[PromptType.INDEX_GRAPH].content, given, ALICE)).text or ""
    assert "person, geo" in graph
    assert "<text>\nTea.\n</text>" in graph


@pytest.mark.parametrize(
    ("template", "problem", "variables", "valid"),
    [
        ("", None, set(), False),
        ("  \n", None, set(), False),
        ("{{", "line 1: broken", set(), False),
        ("{{ content }}", None, {"content"}, False),
        ("{{ content }} {{ language }}", None, {"content", "language"}, True),
        ("{{ content }} {{ language }} {{ x }}", None, {"content", "language", "x"}, True),
    ],
)
async def test_a_template_is_valid_when_it_uses_all_that_its_type_is_given(
    template: str, problem: str | None, variables: set[str], *, valid: bool
) -> None:
    verdict = judged(PromptType.INDEX_SUMMARY, template, problem, variables)
    assert verdict.valid is valid
    assert bool(verdict.errors) is not valid
    assert bool(verdict.warnings) == ("x" in variables)


async def test_ones_own_prompt_goes_before_the_installations_and_that_before_the_built_in_one() -> None:
    type_ = PromptType.INDEX_VISION
    assert prompt_of(type_, {type_: "mine"}, {type_: "ours"}) == ("mine", "user")
    assert prompt_of(type_, {}, {type_: "ours"}) == ("ours", "system")
    assert prompt_of(type_, {}, {}) == (BUILT_IN[type_].content, "hardcoded")
