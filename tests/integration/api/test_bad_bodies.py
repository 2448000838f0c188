"""JSON that is none, that PostgreSQL cannot hold, or that is too much: refused with what is wrong and where."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aperag_testing.refusals import DETAIL, Attack, unrefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Person = Any
Victim = Any

JSON = {"content-type": "application/json"}
UNSTORABLE = "VALIDATION_ERROR"
SURROGATE = r'"\ud800"'
NUL = r'"a\u0000b"'


def body(content: str | bytes, headers: dict[str, str] = JSON) -> dict[str, Any]:
    return {"content": content, "headers": headers}


def nested(levels: int, opening: str = "[", closing: str = "]") -> str:
    return opening * levels + closing * levels


NO_JSON: list[tuple[str, int, dict[str, Any]]] = [
    ("nothing", 422, body("")),
    ("no JSON", 422, body("{nope")),
    ("cut short", 422, body('{"title": "t"')),
    ("two values", 422, body('{"title": "t"} {}')),
    ("no UTF-8", 400, body(b'{"title": "\xff\xfe"}')),
    ("Latin-1", 400, body('{"title": "é"}'.encode("latin-1"))),
    ("10,000 levels of arrays", 400, body('{"title": "t", "source": ' + nested(10_000) + "}")),
    ("10,000 levels of objects", 400, body('{"title": "t", "source": ' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}")),
    ("a number of 5,000 digits", 400, body('{"title": "t", "source": ' + "9" * 5000 + "}")),
    ("10 MB", 413, body('{"title": "' + "x" * 10_000_000 + '"}')),
    ("10 MB that claim to be a form", 413, body("x" * 10_000_000, {"content-type": "multipart/form-data; boundary=b"})),
    ("an array", 422, body("[]")),
    ("null", 422, body("null")),
    ("text", 422, body('{"title": "t"}', {"content-type": "text/plain"})),
    ("XML", 422, body("<title>t</title>", {"content-type": "application/xml"})),
    ("a form", 422, {"data": {"title": "t"}}),
    ("no content type", 422, body('{"title": "t"}', {})),
    ("compressed", 400, body(b"\x1f\x8b\x08\x00", {**JSON, "content-encoding": "gzip"})),
]


@pytest.mark.usefixtures("untouched")
async def test_what_is_no_json_object_is_refused(alice: Person) -> None:
    attacks = [Attack(what, "POST", "/collections", status, DETAIL, request) for what, status, request in NO_JSON]
    deep = body('{"title": ' + nested(900) + "}")
    attacks.append(Attack("900 levels", "POST", "/collections", 400, UNSTORABLE, deep))
    assert await unrefused(alice.http, attacks) == []


UNSTORABLE_COLLECTIONS = {
    "title": f'{{"title": {NUL}}}',
    "description": f'{{"title": "t", "description": {SURROGATE}}}',
    "type": f'{{"title": "t", "type": {SURROGATE}}}',
    "source": '{"title": "t", "source": NaN}',
    "source.deep.0": '{"title": "t", "source": {"deep": [-Infinity]}}',
    "config.source": f'{{"title": "t", "config": {{"source": {SURROGATE}}}}}',
    "config.language": f'{{"title": "t", "config": {{"language": {SURROGATE}}}}}',
    "config.index_prompts.graph": f'{{"title": "t", "config": {{"index_prompts": {{"graph": {NUL}}}}}}}',
    "config.embedding.temperature": '{"title": "t", "config": {"embedding": {"temperature": NaN}}}',
    "config.embedding.timeout": '{"title": "t", "config": {"embedding": {"timeout": 1e400}}}',
    "config.embedding.tags.1": f'{{"title": "t", "config": {{"embedding": {{"tags": ["a", {NUL}]}}}}}}',
    "a name": r'{"title": "t", "\ud800": 1}',
}
"""By the field that the answer names."""


@pytest.mark.usefixtures("untouched")
async def test_what_cannot_be_stored_is_refused_with_its_place(alice: Person, victim: Victim) -> None:
    attacks = [
        Attack(field, method, path, 400, UNSTORABLE, body(content))
        for field, content in UNSTORABLE_COLLECTIONS.items()
        for method, path in (("POST", "/collections"), ("PUT", f"/collections/{victim.collection}"))
    ]
    assert await unrefused(alice.http, attacks) == []
    for field, content in UNSTORABLE_COLLECTIONS.items():
        answer = (await alice.http.post("/collections", **body(content))).json()
        assert answer["details"] == {"field": field}, answer


async def test_no_route_of_administrators_takes_what_cannot_be_stored(
    make_person: Callable[..., Awaitable[Person]],
) -> None:
    admin = await make_person("admin")
    bodies = [
        ("POST", "/admin/dead-letters/redrive", '{"code": %s}'),
        ("POST", "/admin/dead-letters/redrive", '{"ids": [%s]}'),
        ("POST", "/admin/dead-letters/purge", '{"step": %s}'),
        ("POST", "/invite", '{"email": %s, "role": "rw"}'),
    ]
    attacks = [
        Attack(value, method, path, 400, UNSTORABLE, body(content % value))
        for method, path, content in bodies
        for value in (NUL, SURROGATE)
    ]
    assert await unrefused(admin.http, attacks) == []


@pytest.mark.usefixtures("untouched")
async def test_no_other_route_takes_what_cannot_be_stored(alice: Person, victim: Victim) -> None:
    searches = f"/collections/{victim.collection}/searches"
    bodies = [
        ("POST", "/apikeys", '{"description": %s}'),
        ("PUT", f"/apikeys/{victim.key}", '{"description": %s}'),
        ("POST", f"{victim.documents}/confirm", '{"document_ids": [%s]}'),
        ("DELETE", victim.documents, "[%s]"),
        ("POST", f"{victim.documents}/{victim.document}/rebuild_indexes", '{"index_types": [%s]}'),
        ("POST", searches, '{"query": %s, "vector_search": {}, "fulltext_search": {}}'),
        ("POST", searches, '{"query": %s, "fulltext_search": {}, "save_to_history": false}'),
        ("POST", searches, '{"query": "q", "fulltext_search": {"keywords": [%s]}, "save_to_history": false}'),
        ("POST", searches, '{"query": "q", "wait_for": [%s]}'),
        ("POST", "/web/search", '{"query": %s}'),
        ("POST", "/web/search", '{"query": "q", "source": %s}'),
        ("POST", "/web/search", '{"search_llms_txt": %s}'),
        ("POST", "/web/read", '{"url_list": [%s]}'),
        ("POST", "/login", '{"username": %s, "password": "correct horse"}'),
        ("POST", "/login", '{"username": "nobody", "password": %s}'),
        ("POST", "/register", '{"username": %s, "password": "correct horse"}'),
        ("POST", "/register", '{"username": "nobody", "password": %s}'),
        ("POST", "/register", '{"username": "nobody", "password": "correct horse", "token": %s}'),
        ("POST", "/change-password", '{"username": "nobody", "old_password": %s, "new_password": "correct horse"}'),
    ]
    attacks = [
        Attack(value, method, path, 400, UNSTORABLE, body(content % value))
        for method, path, content in bodies
        for value in (NUL, SURROGATE)
    ]
    assert await unrefused(alice.http, attacks) == []


INVALID_COLLECTIONS: dict[str, dict[str, Any]] = {
    "no title": {},
    "empty title": {"title": ""},
    "title of 257 characters": {"title": "t" * 257},
    "title of 1 MB": {"title": "t" * 1_000_000},
    "title of another type": {"title": {"a": 1}},
    "description of 1 MB": {"title": "t", "description": "d" * 1_000_000},
    "config of another type": {"title": "t", "config": []},
    "config null": {"title": "t", "config": None},
    "unknown language": {"title": "t", "config": {"language": "xx-XX"}},
    "switch that is none": {"title": "t", "config": {"enable_vector": "perhaps"}},
    "too hot": {"title": "t", "config": {"embedding": {"temperature": 2.1}}},
    "negative": {"title": "t", "config": {"embedding": {"max_tokens": -1}}},
    "beyond 64 bits": {"title": "t", "config": {"embedding": {"max_tokens": 2**64}}},
    "beyond 64 bits, top_n": {"title": "t", "config": {"embedding": {"top_n": 10**30}}},
}


@pytest.mark.usefixtures("untouched")
async def test_an_invalid_collection_is_refused(alice: Person, victim: Victim) -> None:
    attacks = [
        Attack(what, method, path, 422, DETAIL, {"json": content})
        for what, content in INVALID_COLLECTIONS.items()
        for method, path in (("POST", "/collections"), ("PUT", f"/collections/{victim.collection}"))
    ]
    other = {"title": "t", "config": {"source": "ftp"}}
    attacks += [
        Attack("another type", "POST", "/collections", 400, "INVALID_PARAMETER", {"json": {"title": "t", "type": "x"}}),
        Attack("another source", "POST", "/collections", 400, "INVALID_SOURCE_CONFIG", {"json": other}),
        Attack(
            "many values", "POST", "/collections", 400, UNSTORABLE, {"json": {"title": "t", "source": [0] * 20_001}}
        ),
    ]
    assert await unrefused(alice.http, attacks) == []


def asking(**asked: Any) -> dict[str, Any]:
    return {"query": "tea", **asked}


INVALID_SEARCHES: dict[str, Any] = {
    "no query": {},
    "empty query": {"query": ""},
    "query of 1 MB": {"query": "q" * 1_000_000},
    "query of another type": {"query": ["tea"]},
    "topk 0": asking(vector_search={"topk": 0}),
    "topk negative": asking(fulltext_search={"topk": -1}),
    "topk of a billion": asking(vector_search={"topk": 10**9}),
    "topk beyond 64 bits": asking(fulltext_search={"topk": 2**70}),
    "topk with a fraction": asking(vector_search={"topk": 1.5}),
    "similarity above 1": asking(vector_search={"similarity": 1.01}),
    "similarity below 0": asking(vector_search={"similarity": -0.01}),
    "similarity that is no number": asking(summary_search={"similarity": "high"}),
    "a search of another type": asking(vector_search=[]),
    "keyword of 1 MB": asking(fulltext_search={"keywords": ["k" * 1_000_000]}),
    "10,000 keywords": asking(fulltext_search={"keywords": ["k"] * 10_000}),
    "1,001 to wait for": asking(wait_for=["doc"] * 1001),
    "waiting backwards": asking(wait_ms=-1),
    "waiting for an hour": asking(wait_ms=3_600_000),
    "waiting beyond 64 bits": asking(wait_ms=2**65),
}


@pytest.mark.usefixtures("untouched")
async def test_an_invalid_search_is_refused(alice: Person, victim: Victim) -> None:
    path = f"/collections/{victim.collection}/searches"
    attacks = [Attack(what, "POST", path, 422, DETAIL, {"json": asked}) for what, asked in INVALID_SEARCHES.items()]
    similarity = '{"query": "tea", "vector_search": {"similarity": NaN}}'
    attacks += [
        Attack("blank query", "POST", path, 400, "INVALID_PARAMETER", {"json": {"query": " \n\t\u3000"}}),
        Attack("similarity NaN", "POST", path, 400, UNSTORABLE, body(similarity)),
    ]
    assert await unrefused(alice.http, attacks) == []


@pytest.mark.parametrize(
    "query", ["%", "_", "\\", "'", '"', "a' OR '1'='1", "; DROP TABLE chunk", "🍵", "\u202e", "tea " * 2500, "\x1b[0m"]
)
async def test_a_strange_query_is_searched_like_any_other(alice: Person, victim: Victim, query: str) -> None:
    asked = {"query": query, "vector_search": {"topk": 1000}, "fulltext_search": {"keywords": [query[:1000]]}}
    answer = await alice.http.post(f"/collections/{victim.collection}/searches", json=asked)
    assert (answer.status_code, answer.json()["errors"]) == (200, {})


@pytest.mark.usefixtures("untouched")
async def test_an_invalid_change_of_documents_is_refused(alice: Person, victim: Victim) -> None:
    confirm, rebuild = f"{victim.documents}/confirm", f"{victim.documents}/{victim.document}/rebuild_indexes"
    twice = {"json": {"index_types": ["VECTOR", "VECTOR"]}}
    attacks = [
        Attack("confirm nothing", "POST", confirm, 422, DETAIL, {"json": {"document_ids": []}}),
        Attack("confirm 1,001", "POST", confirm, 422, DETAIL, {"json": {"document_ids": ["doc"] * 1001}}),
        Attack("confirm numbers", "POST", confirm, 422, DETAIL, {"json": {"document_ids": [1, 2**70]}}),
        Attack("confirm a word", "POST", confirm, 422, DETAIL, {"json": {"document_ids": "doc"}}),
        Attack("delete 10,001", "DELETE", victim.documents, 422, DETAIL, {"json": ["doc"] * 10_001}),
        Attack("delete numbers", "DELETE", victim.documents, 422, DETAIL, {"json": [1] * 1000}),
        Attack("delete an object", "DELETE", victim.documents, 422, DETAIL, {"json": {"document_ids": []}}),
        Attack("delete all?", "DELETE", victim.documents, 422, DETAIL),
        Attack("rebuild nothing", "POST", rebuild, 422, DETAIL, {"json": {"index_types": []}}),
        Attack("rebuild in lower case", "POST", rebuild, 422, DETAIL, {"json": {"index_types": ["vector"]}}),
        Attack("rebuild the unknown", "POST", rebuild, 422, DETAIL, {"json": {"index_types": ["AUDIO"]}}),
        Attack("rebuild the parse", "POST", rebuild, 422, DETAIL, {"json": {"index_types": ["PARSE"]}}),
        Attack("rebuild twice", "POST", rebuild, 400, "INVALID_PARAMETER", twice),
        Attack("describe a key at length", "POST", "/apikeys", 422, DETAIL, {"json": {"description": "d" * 1001}}),
    ]
    assert await unrefused(alice.http, attacks) == []
    assert (await alice.http.request("DELETE", victim.documents, json=[])).json()["deleted_ids"] == []


INVALID_WEB: list[tuple[str, str, dict[str, Any]]] = [
    ("query of 1 MB", "search", {"query": "q" * 1_000_000}),
    ("query of another type", "search", {"query": ["tea"]}),
    ("no results wanted", "search", {"query": "tea", "max_results": 0}),
    ("101 results wanted", "search", {"query": "tea", "max_results": 101}),
    ("no time", "search", {"query": "tea", "timeout": 0}),
    ("an hour", "search", {"query": "tea", "timeout": 3600}),
    ("half a second", "search", {"query": "tea", "timeout": 0.5}),
    ("a header in the locale", "search", {"query": "tea", "locale": "en\r\nX-Evil: 1"}),
    ("a list of 1 MB", "search", {"search_llms_txt": "a" * 1_000_000}),
    ("no list of addresses", "read", {}),
    ("one address alone", "read", {"url_list": "https://example.org"}),
    ("21 addresses", "read", {"url_list": ["https://example.org"] * 21}),
    ("an address of 1 MB", "read", {"url_list": ["https://example.org/" + "a" * 1_000_000]}),
    ("an address that is a number", "read", {"url_list": [1]}),
    ("none at a time", "read", {"url_list": ["https://example.org"], "max_concurrent": 0}),
    ("no locale", "read", {"url_list": ["https://example.org"], "locale": "*"}),
]


@pytest.mark.usefixtures("untouched")
async def test_an_invalid_request_to_the_web_is_refused(alice: Person) -> None:
    attacks = [
        Attack(what, "POST", f"/web/{route}", 422, DETAIL, {"json": asked}) for what, route, asked in INVALID_WEB
    ]
    refused = [
        ("nothing to search for", "search", {"query": " \u3000"}),
        ("no site", "search", {"query": "tea", "source": "a.org) OR (b.org"}),
        ("nothing to read", "read", {"url_list": []}),
    ]
    attacks += [
        Attack(what, "POST", f"/web/{route}", 400, "INVALID_PARAMETER", {"json": asked})
        for what, route, asked in refused
    ]
    private = {"json": {"search_llms_txt": "localhost"}}
    attacks.append(Attack("a private site", "POST", "/web/search", 400, "BLOCKED_ADDRESS", private))
    assert await unrefused(alice.http, attacks) == []


async def test_an_error_echoes_little_of_what_it_was_sent(alice: Person) -> None:
    answer = await alice.http.post("/collections", json={"title": ["t" * 100_000] * 30})
    (error,) = answer.json()["detail"]
    assert (error["type"], error["loc"]) == ("string_type", ["body", "title"])
    assert error["input"][0].startswith("ttt")
    assert len(json.dumps(error)) < 4096
