"""A printed page as signs in places, put into the order in which people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from statistics import median
from typing import NamedTuple

UNMAPPED = 0xF0000
"""From here on stand signs of a font that does not say what letter they are, by their code in it."""
ANGLES = 5
"""Degrees that turned lines are told apart by."""
_GAP = 1.0
"""A wider gap, in heights of the print, parts what stands in one line."""
_GUTTER_LINES = 3
_FULL_LINE = 0.55
_SHORTEST_LINE = 90.0
_CROSSING = 0.25
_NARROWEST = 6.0
MOST_COLUMNS = 4
_STEP = 3.0
"""Points between the places where a gutter is looked for."""
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
LARGE_PRINT = 1.3
LONGEST_HEADING = 100


class Glyph(NamedTuple):
    """``angle`` is clockwise; ``is_made_up``: a space that only a gap calls for."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float
    angle: float
    is_made_up: bool = False


class Widget(NamedTuple):
    text: str
    left: float
    bottom: float
    right: float
    top: float


class Sheet(NamedTuple):
    """``plain`` is the page in the order it was printed; ``runs`` are boxes of its pieces."""

    number: int
    plain: str
    upright: bool
    widgets: tuple[Widget, ...]
    glyphs: Callable[[], Iterable[Glyph]]
    runs: list[tuple[float, float, float, float]]
    has_pictures: bool


class Run(NamedTuple):
    """A piece of a line, turned so that it runs from left to right."""

    text: str
    left: float
    right: float
    base: float
    size: float

    @property
    def width(self) -> float:
        return self.right - self.left


def text_of(sheet: Sheet) -> str:
    """Markdown of a page in reading order: turned text behind upright text, column after column."""
    if RIGHT_TO_LEFT.search(sheet.plain):  # PDFium knows where lines turn, and gives them as they are spoken
        return "\n\n".join([sheet.plain.replace("\r", ""), *(widget.text for widget in sheet.widgets)])
    turned: dict[int, list[Run]] = {}
    for run_angle, run in _runs(sheet.glyphs()):
        turned.setdefault(run_angle, []).append(run)
    if sheet.widgets:
        height = median(run.size for runs in turned.values() for run in runs) if turned else 10.0
        turned.setdefault(0, []).extend(
            Run(w.text, w.left, w.right, (w.bottom + w.top) / 2 - height / 3, height) for w in sheet.widgets
        )
    order = sorted(turned, key=lambda angle: -sum(len(run.text) for run in turned[angle]))
    return "\n\n".join(_page(turned[angle]) for angle in order)


def has_columns(runs: Sequence[tuple[float, float, float, float]]) -> bool:
    """Whether a page, judged by the boxes of its print, is set in columns."""
    boxes = [Run("", left, right, bottom, top - bottom) for left, bottom, right, top in runs]
    return _gutter(list(_joined(boxes))) is not None


def _joined(pieces: Iterable[Run]) -> Iterator[Run]:
    """Pieces of one line, which a font or a program's habit parts, as one."""
    for line in _lines(list(pieces)):
        held = line[0]
        for piece in line[1:]:
            if piece.left - held.right < max(_NARROWEST, held.size):
                held = held._replace(right=max(held.right, piece.right))
            else:
                yield held
                held = piece._replace(base=line[0].base)
        yield held


def _runs(glyphs: Iterable[Glyph]) -> Iterator[tuple[int, Run]]:
    """Signs that follow each other closely in one line."""
    open_angle = 0
    held: list[tuple[str, float, float, float, float]] = []
    for glyph in glyphs:
        angle = round(math.degrees(glyph.angle) / ANGLES) * ANGLES % 360
        left, right, base, size = _turned(glyph, angle)
        if held and (angle != open_angle or _parts(held, left, base, size, glyph)):
            yield open_angle, _run(held)
            held = []
        open_angle = angle
        if held or glyph.text.strip():
            held.append((glyph.text, left, right, base, size))
    if held:
        yield open_angle, _run(held)


def _parts(
    held: list[tuple[str, float, float, float, float]], left: float, base: float, size: float, glyph: Glyph
) -> bool:
    solid = next((sign for sign in reversed(held) if sign[0].strip()), held[-1])
    tall = max(size, solid[4], 1.0)
    if not glyph.text.strip():
        return False
    return abs(base - solid[3]) > 0.7 * tall or left - solid[2] > _GAP * tall or left < solid[1] - 0.5 * tall


def _run(held: list[tuple[str, float, float, float, float]]) -> Run:
    solid = [sign for sign in held if sign[0].strip()] or held
    text = "".join(sign[0] for sign in held).rstrip()
    return Run(text, solid[0][1], max(s[2] for s in solid), median(s[3] for s in solid), median(s[4] for s in solid))


def _turned(glyph: Glyph, angle: int) -> tuple[float, float, float, float]:
    """Left, right, base line and height of the print, as if its line ran from left to right."""
    size = glyph.size or abs(glyph.top - glyph.bottom) or 1.0
    if angle == 0:
        return glyph.left, glyph.right, glyph.bottom, size
    turn = math.radians(angle)
    corners = [(x, y) for x in (glyph.left, glyph.right) for y in (glyph.bottom, glyph.top)]
    along = [x * math.cos(turn) - y * math.sin(turn) for x, y in corners]
    across = [x * math.sin(turn) + y * math.cos(turn) for x, y in corners]
    if angle % 90:  # the box of a slanted sign is wider and higher than the sign
        middle, height = sum(along) / 4, sum(across) / 4
        return middle - size / 4, middle + size / 4, height - size / 3, size
    return min(along), max(along), min(across), size


def _page(runs: list[Run]) -> str:
    body = median(sorted(run.size for run in runs for _ in range(max(1, len(run.text) // 10))))
    blocks = [_block(list(lines), body) for lines in _blocks(_columns(runs))]
    return "\n\n".join(block for block in blocks if block)


def _columns(runs: list[Run]) -> Iterator[list[Run]]:
    """Regions in reading order."""
    gutter = _gutter(runs)
    if gutter is None:
        yield runs
        return
    left: list[Run] = []
    right: list[Run] = []
    for run in sorted(runs, key=lambda run: -run.base):
        if run.right <= gutter:
            left.append(run)
        elif run.left >= gutter:
            right.append(run)
        else:
            for side in (left, right):
                if side:
                    yield from _columns(side)
            left, right = [], []
            yield [run]
    for side in (left, right):
        if side:
            yield from _columns(side)


def _gutter(runs: Sequence[Run], depth: int = MOST_COLUMNS) -> float | None:
    """Where a white strip parts two columns of prose; columns of a table hold less than lines of text."""
    for crossing, x in sorted(_strips(runs)):
        left = [run for run in runs if run.right <= x]
        right = [run for run in runs if run.left >= x]
        if crossing > _CROSSING * len(runs):
            return None
        if _is_set(left, depth) and _is_set(right, depth):
            return x
    return None


def _is_set(runs: list[Run], depth: int) -> bool:
    """In lines of prose, or in columns of them."""
    return _is_prose(runs) or (depth > 2 and len(runs) >= 2 * _GUTTER_LINES and _gutter(runs, depth - 1) is not None)


def _strips(runs: Sequence[Run]) -> Iterator[tuple[int, float]]:
    """White strips of the page, by how many runs cross them: narrow ones part words, not columns."""
    first = min((run.left for run in runs), default=0.0)
    crossing = [0] * (int((max((run.right for run in runs), default=0.0) - first) / _STEP) + 2)
    for run in runs:
        for place in range(int((run.left - first) / _STEP) + 1, int((run.right - first) / _STEP) + 1):
            crossing[place] += 1
    at = 0
    for count, same in groupby(crossing):
        width = len(list(same))
        before = crossing[at - 1] if at else 0
        after = crossing[at + width] if at + width < len(crossing) else 0
        if count < before and count < after and width * _STEP >= _NARROWEST:
            yield count, first + (at + width / 2) * _STEP
        at += width


def _is_prose(runs: list[Run]) -> bool:
    """Lines of text fill their column; cells of a table leave most of it white."""
    lines = list(_lines(runs))
    if len(lines) < _GUTTER_LINES:
        return False
    width = max(run.right for run in runs) - min(run.left for run in runs)
    return median(sum(run.width for run in line) for line in lines) >= max(_FULL_LINE * width, _SHORTEST_LINE)


def _lines(runs: list[Run]) -> Iterator[list[Run]]:
    """From the top; what shares a base line is one line."""
    held: list[Run] = []
    for run in sorted(runs, key=lambda run: -run.base):
        if held and held[0].base - run.base > 0.5 * max(held[0].size, run.size):
            yield sorted(held, key=lambda run: run.left)
            held = []
        held.append(run)
    if held:
        yield sorted(held, key=lambda run: run.left)


def _blocks(regions: Iterable[list[Run]]) -> Iterator[list[list[Run]]]:
    """Lines that stand close and are printed alike."""
    for region in regions:
        held: list[list[Run]] = []
        for line in _lines(region):
            if held:
                before = held[-1][0]
                far = before.base - line[0].base > 1.8 * max(before.size, line[0].size)
                if far or abs(before.size - line[0].size) > 0.15 * before.size:
                    yield held
                    held = []
            held.append(line)
        if held:
            yield held


def _block(lines: list[list[Run]], body: float) -> str:
    texts = [" ".join(run.text for run in line) for line in lines]
    large = median(run.size for line in lines for run in line) >= LARGE_PRINT * body
    if large and len(texts) <= 2 and len(" ".join(texts)) <= LONGEST_HEADING:
        return f"# {' '.join(texts)}"
    return "\n".join(texts)
