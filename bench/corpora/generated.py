"""Texts made of nothing but a seed: where no real corpus is at hand, and where each page must be unlike all others."""

from __future__ import annotations

import random

SUBJECTS = (
    "river harbour tide moon coffee bean bicycle gear protein signal cell market price wall bridge winter harvest field "
    "engine valve steam paper ink press letter song string drum stage light lens mirror glacier orchard copper lantern "
    "voyage compass kernel packet ledger quarry meadow furnace turbine canal archive"
).split()
VERBS = "carries holds turns cools lifts marks crosses feeds breaks follows measures hides repeats moves slows".split()
QUALITIES = (
    "old narrow bright heavy quiet early distant public frozen cheap hollow northern soft regular double".split()
)
WORDS_PER_PAGE = 340
WORDS_PER_SENTENCE = 8


def page(number: int) -> str:
    """English in form, about one page; the same number gives the same text."""
    chance = random.Random(number)
    return " ".join(_sentence(chance) for _ in range(WORDS_PER_PAGE // WORDS_PER_SENTENCE))


def question(number: int) -> str:
    """Of words that pages hold."""
    chance = random.Random(f"question {number}")
    return f"which {chance.choice(QUALITIES)} {chance.choice(SUBJECTS)} {chance.choice(VERBS)} the {chance.choice(SUBJECTS)}"


def _sentence(chance: random.Random) -> str:
    first, second = chance.choices(SUBJECTS, k=2)
    quality, verb = chance.choice(QUALITIES), chance.choice(VERBS)
    return f"The {quality} {first} {verb} a {second} of {chance.randrange(1000)}."
