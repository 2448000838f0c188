"""The search page: everything that was asked stands in its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from aperag_console.collections.listing import every
from aperag_console.searches.snippets import plain, window_of, words_of
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.page import Page

LEGS = ("vector", "fulltext", "graph", "summary", "vision")
USUAL_LEGS = ("vector", "fulltext")
WITH_SIMILARITY = frozenset({"vector", "summary", "vision"})
TOPK = 10
MOST_TOPK = 100
MOST_EARLIER = 8
"""Questions of the history that are offered again."""


@dataclass(frozen=True, slots=True)
class Asked:
    """``similarity`` is the least cosine in percent, 0 for any."""

    query: str
    legs: tuple[str, ...]
    topk: int
    similarity: int
    rerank: bool

    @classmethod
    def of(cls, page: Page) -> Asked:
        chosen = [leg for leg in page.request.query_params.getlist("leg") if leg in LEGS]
        topk = page.number("topk", TOPK, most=MOST_TOPK)
        similarity = page.number("similarity", 0, most=100)
        return cls(page.query("q"), tuple(chosen) or USUAL_LEGS, topk, similarity, page.query("rerank") == "1")

    @property
    def body(self) -> dict[str, Any]:
        legs: dict[str, Any] = {f"{leg}_search": {"topk": self.topk} for leg in self.legs}
        for leg in WITH_SIMILARITY & set(self.legs):
            if self.similarity:
                legs[f"{leg}_search"]["similarity"] = self.similarity / 100
        return {"query": self.query, "rerank": self.rerank, "save_to_history": True, **legs}


@dataclass(frozen=True, slots=True)
class Hit:
    """``before`` and ``after`` are the rest of the passage around what is shown of it."""

    item: Mapping[str, Any]
    before: str
    shown: str
    after: str

    @property
    def about(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.item["metadata"]
        return found


async def show(request: Request) -> Response:
    page = await open_page(request)
    collections = await every(page.api)
    known = {it["id"]: it for it in collections}
    collection = known.get(page.query("collection")) or (collections[0] if collections else None)
    asked = Asked.of(page)
    context: dict[str, Any] = {"answer": None, "hits": [], "words": [], "earlier": []}
    if collection and asked.query:
        answer = await page.api.post("collections", collection["id"], "searches", body=asked.body)
        words = words_of(asked.query)
        hits = [Hit(it, *window_of(plain(it["content"]), words)) for it in answer["items"]]
        # A leg that was not asked for has not failed.
        errors = {leg: why for leg, why in answer["errors"].items() if leg.removesuffix("_search") in asked.legs}
        context |= {"answer": answer, "hits": hits, "words": words, "errors": errors}
    elif collection:
        history = await page.api.get("collections", collection["id"], "searches")
        context["earlier"] = list(dict.fromkeys(it["query"] for it in history["items"]))[:MOST_EARLIER]
    return page.render(
        "search.html", collections=collections, collection=collection, asked=asked, all_legs=LEGS, **context
    )


ROUTES = [Route("/search", show)]
