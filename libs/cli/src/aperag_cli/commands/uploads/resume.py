"""What an earlier run, or somebody else, has uploaded already.

The collection itself is asked: its list has names and sizes, and the entity tag of a document is the SHA-256 of its
bytes. A list kept on this machine would not know of deletions, of other machines and of requests that broke off after
they were carried out.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_cli.client.errors import NotFound
from aperag_cli.commands.uploads.walk import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from aperag_cli.client.api import Api
    from aperag_cli.commands.uploads.walk import Source


@dataclass(slots=True)
class Known:
    """``documents`` maps the name of what need not be sent to the document that the collection has."""

    missing: list[Source] = field(default_factory=list)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)


async def compare(api: Api, collection_id: str, sources: Sequence[Source], *, concurrency: int) -> Known:
    """Sort ``sources`` into what is missing, what is known and what has changed."""
    named = {it["name"]: it for it in await api.documents(collection_id)}
    known = Known()
    slots = asyncio.Semaphore(concurrency)

    async def look(source: Source) -> bool | None:
        document = named.get(source.name)
        if document is None:
            return None
        async with slots:
            return await _same(api, collection_id, source, document)

    for source, same in zip(sources, await asyncio.gather(*map(look, sources)), strict=True):
        if same is None:
            known.missing.append(source)
        elif same:
            known.documents[source.name] = named[source.name]
        else:
            known.refused.append(Refusal(source.path, changed(source, named)))
    return known


def changed(source: Source, named: Mapping[str, Mapping[str, Any]]) -> str:
    document = named[source.name]
    return f"the collection has {source.name!r} with other content ({document['id']}): delete that one first"


async def _same(api: Api, collection_id: str, source: Source, document: Mapping[str, Any]) -> bool | None:
    """None where the gateway does not tell: then the bytes are sent, and it compares them itself."""
    if document["size"] != source.size:
        return False
    if source.size == 0:
        return True
    try:
        theirs = await api.sha256(collection_id, document["id"])
        return None if theirs is None else theirs == await asyncio.to_thread(_sha256, source.path)
    except (NotFound, OSError):  # deleted since it was listed; not readable, which sending it will tell
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
