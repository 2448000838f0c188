"""The design's colours can be read in both themes, and nothing uses colours of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[3] / "services" / "console" / "src" / "aperag_console" / "static"
COLOUR = re.compile(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")
READABLE = 4.5
"""Contrast that WCAG asks of text, at level AA."""

TOKENS = {name: (light, dark) for name, light, dark in COLOUR.findall((STATIC / "tokens.css").read_text("utf-8"))}
GROUNDS = ("ground", "surface", "raised", "sunken")
PAIRS = [
    *((ink, ground) for ink in ("ink", "ink-soft", "ink-faint", "accent", "bad", "good") for ground in GROUNDS),
    *((look, f"{look}-soft") for look in ("good", "busy", "wait", "bad", "accent")),
    ("ink", "accent-soft"),
    ("ink", "bad-soft"),
    ("ink", "good-soft"),
    ("ink", "mark"),
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (it / 12.92 if it <= 0.04045 else ((it + 0.055) / 1.055) ** 2.4 for it in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS, ids="-on-".join)
def test_text_can_be_read_on_its_ground(ink: str, ground: str, theme: int) -> None:
    darker, lighter = sorted(luminance(TOKENS[name][theme]) for name in (ink, ground))
    assert (lighter + 0.05) / (darker + 0.05) >= READABLE


@pytest.mark.parametrize("sheet", ["base.css", "parts.css", "chat.css"])
def test_only_the_tokens_name_colours(sheet: str) -> None:
    text = (STATIC / sheet).read_text("utf-8")
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?!\s*{)", text) == []
    used = set(re.findall(r"var\(--([\w-]+)\)", text))
    known = set(re.findall(r"--([\w-]+):", (STATIC / "tokens.css").read_text("utf-8")))
    assert used <= known


def test_nothing_is_loaded_from_elsewhere() -> None:
    for path in STATIC.iterdir():
        urls = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text("utf-8")))
        assert urls <= {"http://www.w3.org"}, path.name  # the name of SVG, which nobody fetches
