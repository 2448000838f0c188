"""A chunk is found by what stands around it."""

from __future__ import annotations

import pytest

from aperag_retrieval.context import contextual, meant


@pytest.mark.parametrize(
    ("name", "titles", "text", "indexed"),
    [
        ("Jane Doe.md", (), "Phone: 555", "Jane Doe\nPhone: 555"),
        ("연차규정.txt", (), "휴가", "연차규정\n휴가"),
        ("invoice_2024-07_ACME.txt", (), "Total", "invoice 2024-07 ACME\nTotal"),
        ("v1.2 notes.tar", ("Guide", "Oil"), "Change it.", "v1.2 notes\nGuide\nOil\nChange it."),
        ("a.md", ("Guide", "Oil"), "## Oil\n\nChange it.", "a\nGuide\n## Oil\n\nChange it."),
        (".md", (), "text", "text"),
    ],
)
def test_name_and_headings_stand_before_the_text_once(
    name: str, titles: tuple[str, ...], text: str, indexed: str
) -> None:
    assert contextual(name, titles, text) == indexed


def test_a_number_for_a_name_is_found_as_a_word_and_has_no_meaning() -> None:
    assert contextual("2024-07.pdf", (), "Total") == "2024-07\nTotal"
    assert meant("2024-07.pdf", ("Sum",), "Total") == "Sum\nTotal"
    assert meant("Jane Doe 7.md", (), "Total") == "Jane Doe 7\nTotal"
