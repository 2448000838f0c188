"""``aperag search``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from aperag_cli.arguments import Collection
from aperag_cli.exits import Exit
from aperag_cli.output import plain
from aperag_cli.remote import Session, remote

if TYPE_CHECKING:
    from collections.abc import Sequence

WAIT_MS = 10_000
"""The longest the gateway waits."""
SNIPPET = 300


@remote
async def search(
    session: Session,
    collection: Collection,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Search text; in quotes if it has spaces.")],
    *,
    vector: Annotated[bool, typer.Option("--vector", help="Search by meaning only.")] = False,
    fulltext: Annotated[bool, typer.Option("--fulltext", help="Search by words only.")] = False,
    topk: Annotated[int, typer.Option(help="Maximum number of hits.", min=1, max=1000)] = 5,
    wait_for: Annotated[
        list[str] | None,
        typer.Option(
            help="Wait up to 10 s until this task or document (an id) is searchable; can be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Search a collection by meaning and by words.

    Example: aperag search Handbooks "how long is the warranty" --topk 3

    Exit code 1 if a kind of search failed, or if a document of --wait-for is not searchable yet. The hits are shown anyway.
    """
    body: dict[str, object] = {"query": query, "save_to_history": False}
    both = vector == fulltext
    if vector or both:
        body["vector_search"] = {"topk": topk}
    if fulltext or both:
        body["fulltext_search"] = {"topk": topk}
    if wait_for:
        body |= {"wait_for": wait_for, "wait_ms": WAIT_MS}
    answer = await session.api.search(await session.api.collection_id(collection), body)
    answer["items"] = answer["items"][:topk]  # both kinds were asked for as many
    session.printer.whole(answer, lambda: hits(answer["items"]))
    problems = [f"{leg} failed: {reason}" for leg, reason in (answer.get("errors") or {}).items()]
    problems += [f"not searchable yet: {id_}" for id_ in answer.get("not_searchable") or ()]
    for problem in problems:
        session.printer.note(problem)
    if problems:
        raise typer.Exit(Exit.FAILED)


def hits(items: Sequence[dict[str, Any]]) -> Table:
    made = Table(show_lines=True)
    made.add_column("rank", justify="right")
    made.add_column("score", justify="right")
    made.add_column("document", overflow="fold", max_width=40)
    made.add_column("found by")
    made.add_column("text", overflow="fold", max_width=120)
    for item in items:
        score = "" if item["score"] is None else f"{item['score']:.3f}"
        found_by = item["recall_type"].removesuffix("_search")
        made.add_row(str(item["rank"]), score, _place(item), found_by, _window(item))
    return made


def _place(item: dict[str, Any]) -> Text:
    """The document, its page and the headings above the hit."""
    page = item["metadata"].get("page_idx")
    said = [item["source"], *([] if page is None else [f"page {page + 1}"]), *item["metadata"].get("titles", ())]
    return plain("\n".join(said))


def _window(item: dict[str, Any]) -> Text:
    """The part of the text where the words stand, with them in bold; of an older gateway the beginning."""
    content, found = item["content"], item["metadata"].get("snippet")
    start, end = (found["start"], found["end"]) if found else (0, SNIPPET)
    text = plain("".join(" " if character.isspace() else character for character in content[start:end]))
    for left, right in found["marks"] if found else ():
        text.stylize("bold", max(0, left - start), max(0, right - start))
    return Text.assemble("… " if start else "", text, " …" if end < len(content) else "")
