"""What a document may be called."""

from __future__ import annotations

import pytest

from aperag_api.knowledge.uploads.names import MAX_NAME, clean_name, suffix_of
from aperag_common import errors


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd.txt", "passwd.txt"),
        ("/absolute/x.md", "x.md"),
        ("C:\\Users\\a\\b.docx", "b.docx"),
        ("  padded.txt ", "padded.txt"),
        ("caf\u0065\u0301.txt", "caf\u00e9.txt"),
        ('한국어 🍵 "quoted".md', '한국어 🍵 "quoted".md'),
        ("a" * (MAX_NAME - 4) + ".txt", "a" * (MAX_NAME - 4) + ".txt"),
        ("\u200eשלום\u200f.txt", "\u200eשלום\u200f.txt"),
        ("👩\u200d🌾.txt", "👩\u200d🌾.txt"),
        ("CON.txt", "CON.txt"),
        ("a%2Fb.txt", "a%2Fb.txt"),
    ],
)
def test_a_name_is_its_last_component_composed(raw: str, expected: str) -> None:
    assert clean_name(raw) == expected


@pytest.mark.parametrize("raw", [None, "", "  ", ".", "..", "folder/", "a" * MAX_NAME + "b"])
def test_what_is_no_name_is_refused(raw: str | None) -> None:
    with pytest.raises(errors.InvalidParameter):
        clean_name(raw)


@pytest.mark.parametrize(
    "character", ["\0", "\n", "\r", "\t", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\u2066", "\ud800"]
)
def test_a_character_that_cannot_be_written_or_misleads_is_named(character: str) -> None:
    with pytest.raises(errors.InvalidParameter, match=rf"U\+{ord(character):04X}"):
        clean_name(f"a{character}b.txt")


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.PDF", ".pdf"), ("a.tar.gz", ".tar.gz"), ("a.b.gz", ".gz"), ("v1.2.md", ".md"), ("x.csv", ".csv")],
)
def test_the_longest_accepted_suffix_counts(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


@pytest.mark.parametrize("name", ["a.exe", "README", ".pdf", "a.pdf.exe", "a."])
def test_other_suffixes_are_refused(name: str) -> None:
    with pytest.raises(errors.InvalidParameter):
        suffix_of(name)
