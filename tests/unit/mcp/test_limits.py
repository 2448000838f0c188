"""What a result may hold."""

from __future__ import annotations

import pytest

from aperag_mcp.limits import ELLIPSIS, shorten


@pytest.mark.parametrize(
    ("lengths", "characters", "cut"),
    [
        ([], 100, []),
        ([100], 100, []),
        ([101], 100, [0]),
        ([10, 200, 10], 100, [1]),
        ([300, 5, 300], 105, [0, 2]),
        ([40, 30, 30], 100, []),
        ([0, 0, 500], 50, [2]),
        ([5] * 40, 100, list(range(40))),
    ],
)
def test_short_texts_stay_whole_and_long_ones_share_the_rest(
    lengths: list[int], characters: int, cut: list[int]
) -> None:
    shortened = shorten(["x" * length for length in lengths], characters)
    assert shortened.cut == cut
    assert sum(map(len, shortened.texts)) <= characters
    assert [len(text) for at, text in enumerate(shortened.texts) if at not in cut] == [
        length for at, length in enumerate(lengths) if at not in cut
    ]


def test_what_is_cut_says_so_at_its_end() -> None:
    (text,) = shorten(["abcdefghij"], 6).texts
    assert text == "abcd" + ELLIPSIS


def test_long_texts_are_cut_to_the_same_length() -> None:
    texts = shorten(["a" * 500, "b", "c" * 300], 101).texts
    assert [len(text) for text in texts] == [50, 1, 50]
