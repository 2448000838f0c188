"""Writes what vectors of multilingual-e5-small have in common for each script: the mean of passages on no topic.

Such a passage is a run of pieces of the script's words, drawn as often as the vocabulary says they occur, so no corpus
has to be chosen. Latin letters belong to so many languages that a run of them is like none: their mean is that of
passages of this project's guides.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from aperag_retrieval.chunking import ChunkPolicy, ParsedDocument, chunk_document
from aperag_retrieval.e5 import weights
from aperag_retrieval.e5.encoder import MEANS, PASSAGE
from aperag_retrieval.e5.model import Model
from aperag_retrieval.e5.tokens import FIRST, LAST, Tokenizer
from aperag_retrieval.e5.weights import Array, Weights
from aperag_retrieval.scripts import Script, script_of

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "libs/retrieval/src/aperag_retrieval/e5" / MEANS
PASSAGES, LENGTH, SEED = 250, 120, 0


def main() -> int:
    path = weights.installed()
    if path is None:
        sys.exit(f"{weights.PACKAGE} is not installed")
    read = weights.verified(path)
    model, tokenizer = Model(read), Tokenizer(read.vocabulary)
    means = []
    for script in Script:
        passages = of_guides(tokenizer) if script is Script.LATIN else drawn(read, script)
        rows = np.stack([model.mean([FIRST, *tokenizer.ids(PASSAGE), *passage, LAST]) for passage in passages])
        means.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0))
    np.save(TARGET, np.stack(means).astype(np.float32))
    return 0


def drawn(read: Weights, script: Script) -> Array:
    """Token ids."""
    chosen = np.flatnonzero([script_of(piece) == script for piece in read.vocabulary.pieces])
    likelihoods = np.exp(read.vocabulary.scores[chosen].astype(np.float64))
    found: Array = np.random.default_rng(SEED).choice(chosen, (PASSAGES, LENGTH), p=likelihoods / likelihoods.sum())
    return found


def of_guides(tokenizer: Tokenizer) -> Iterable[list[int]]:
    """Token ids."""
    guides = [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md"))]
    texts = [it.text for guide in guides for it in chunk_document(ParsedDocument(guide), ChunkPolicy(150, 0))]
    return [tokenizer.ids(text) for text in random.Random(SEED).sample(texts, PASSAGES)]  # noqa: S311  a sample


if __name__ == "__main__":
    sys.exit(main())
