"""Which script a question and a collection are written in: across scripts only meaning can match, not words."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aperag_common.db.models import Chunk, ChunkTerm
from aperag_retrieval.analysis import HAN, HANGUL, KANA

SAMPLE_CHUNKS = 48
SAMPLE_CHARACTERS = 400
MEMORY_SECONDS = 60.0
MOST_COLLECTIONS = 1000
AT_HOME_SHARE = 0.25
"""A script that a quarter of the chunks are written in is not foreign, though another may be more common."""


MIXED_SHARE = 0.03
_BEGINNINGS = text("SELECT id, left(text, :most) AS beginning FROM chunk WHERE id = ANY(:chunk_ids)")


class Script(StrEnum):
    """``HAN`` covers Chinese and Japanese: their texts share characters, and so terms."""

    LATIN = "latin"
    HAN = "han"
    HANGUL = "hangul"
    OTHER = "other"


_LETTERS = {
    # A character of these says about as much as a word of two to four letters.
    Script.HAN: (re.compile(f"[{HAN}{KANA}]"), 3),
    Script.HANGUL: (re.compile(f"[{HANGUL}]"), 3),
    Script.LATIN: (re.compile("[A-Za-z\u00c0-\u024f]"), 1),
    Script.OTHER: (re.compile(f"[^\\W\\d_A-Za-z\u00c0-\u024f{HAN}{KANA}{HANGUL}]"), 1),
}


def script_of(text: str) -> Script | None:
    """The script most of the text is written in; None without a letter."""
    weights = {script: len(letter.findall(text)) * worth for script, (letter, worth) in _LETTERS.items()}
    script = max(weights, key=weights.__getitem__)
    return script if weights[script] else None


def is_foreign(script: Script | None, shares: Mapping[Script, float]) -> bool:
    return script is not None and bool(shares) and shares.get(script, 0.0) < AT_HOME_SHARE


def is_mixed(shares: Mapping[Script, float]) -> bool:
    return sum(share >= MIXED_SHARE for share in shares.values()) > 1


async def written_in_others(conn: AsyncConnection, script: Script | None, chunk_ids: Iterable[str]) -> frozenset[str]:
    """Those of the chunks that are written in another script than ``script``."""
    if script is None:
        return frozenset()
    rows = await conn.execute(_BEGINNINGS, {"chunk_ids": list(chunk_ids), "most": SAMPLE_CHARACTERS})
    return frozenset(row.id for row in rows if script_of(row.beginning) not in {script, None})


class CollectionScripts:
    """Shares of scripts in a sample of each collection's chunks; one per process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, dict[Script, float]]] = {}

    async def shares(self, conn: AsyncConnection, collection_id: str) -> dict[Script, float]:
        until, shares = self._known.get(collection_id, (0.0, {}))
        if self._clock() < until:
            return shares
        sample = (
            select(ChunkTerm.chunk_id)
            .where(ChunkTerm.collection_id == collection_id)
            .order_by(func.md5(ChunkTerm.chunk_id))
            .limit(SAMPLE_CHUNKS)
            .subquery()
        )
        statement = select(func.left(Chunk.text, SAMPLE_CHARACTERS)).join(sample, sample.c.chunk_id == Chunk.id)
        texts = (await conn.execute(statement)).scalars().all()
        counts = Counter(script for content in texts if (script := script_of(content)) is not None)
        shares = {script: count / counts.total() for script, count in counts.items()}
        if len(texts) == SAMPLE_CHUNKS:  # a smaller collection is read anew each time, it may just be growing
            if len(self._known) >= MOST_COLLECTIONS:
                self._known.clear()
            self._known[collection_id] = (self._clock() + MEMORY_SECONDS, shares)
        return shares
