"""What a model's pieces become on their way to readers."""

from __future__ import annotations

import json

import pytest

from aperag_agent.turns.telling import sound


@pytest.mark.parametrize(
    ("piece", "told"),
    [("plain", "plain"), ("차 🍵", "차 🍵"), ("half \ud83c", "half ?"), ("\udf75", "?"), ("", "")],
)
def test_half_a_character_becomes_a_mark_that_can_be_sent(piece: str, told: str) -> None:
    assert sound(piece) == told
    json.dumps(sound(piece), ensure_ascii=False).encode()
