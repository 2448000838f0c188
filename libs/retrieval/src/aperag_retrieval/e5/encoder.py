"""Texts to vectors with multilingual-e5-small: queries as the model makes them, passages apart from their script's mean.

What the vectors of one script have in common is mostly the script. Without that, a passage is near a question of any
language that it answers, and not of any that only looks like it.
"""

from __future__ import annotations

from importlib import import_module, resources
from typing import TYPE_CHECKING

import numpy as np

from aperag_common import errors
from aperag_retrieval.e5 import weights
from aperag_retrieval.e5.model import RUNTIME, Model
from aperag_retrieval.e5.tokens import FIRST, LAST, Tokenizer
from aperag_retrieval.scripts import Script, script_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_retrieval.ports import Vector

QUERY, PASSAGE = "query: ", "passage: "
MEANS = "means.npy"
"""A row for each ``Script``, in their order; written by ``scripts/e5_means.py``."""
LONGEST_TEXT = 16_000
"""Characters; a chunk has a tenth of that."""
MOST_WINDOWS = 4
_WINDOW = weights.LONGEST - 2


def load() -> Encoder:
    """Raises ``Terminal`` where the file is damaged."""
    path = weights.installed()
    if path is None:
        raise errors.Terminal(f"{weights.PACKAGE} is not installed", code="MODEL_UNAVAILABLE")
    return Encoder(weights.verified(path))


def problem() -> str | None:
    """Why it does not work here."""
    if weights.installed() is None:
        return f"the package {weights.PACKAGE} is not installed"
    try:
        import_module(RUNTIME)
    except ImportError as err:
        return f"the package {RUNTIME} cannot be used ({err})"
    return None


class Encoder:
    def __init__(self, read: weights.Weights) -> None:
        self._tokenizer, self._model = Tokenizer(read.vocabulary), Model(read)
        means = np.load(str(resources.files(__package__).joinpath(MEANS)))
        self._means = dict(zip(Script, means, strict=True))

    def __call__(self, texts: Sequence[str], *, as_queries: bool) -> Vector:
        rows = np.stack([self._query(text) if as_queries else self._passage(text) for text in texts])
        return rows.astype(np.float32)

    def _query(self, text: str) -> Vector:
        return self._encoded(QUERY + text)

    def _passage(self, text: str) -> Vector:
        return _unit(self._encoded(PASSAGE + text) - self._means[script_of(text) or Script.OTHER])

    def _encoded(self, text: str) -> Vector:
        """A text longer than the model takes is encoded in parts of one length, and their mean counts."""
        ids = self._tokenizer.ids(text[:LONGEST_TEXT])[: MOST_WINDOWS * _WINDOW]
        parts = -(-len(ids) // _WINDOW)
        cut = [ids[len(ids) * part // parts : len(ids) * (part + 1) // parts] for part in range(parts)]
        return _unit(np.mean([self._model.mean([FIRST, *part, LAST]) for part in cut], axis=0))


def _unit(row: Vector) -> Vector:
    unit: Vector = row / max(float(np.linalg.norm(row)), float(np.finfo(np.float32).tiny))
    return unit
