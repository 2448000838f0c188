"""Printed pages are read whole, in the order in which people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.indexer.printed_files import line, printed

from aperag_indexer.adapters.readers import read

if TYPE_CHECKING:
    from pathlib import Path

    from aperag_retrieval.chunking import ParsedDocument

UPWARDS = "0 1 -1 0"
DOWNWARDS = "0 -1 1 0"


def document(path: Path) -> ParsedDocument:
    return read(str(path), ".pdf")


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_page_is_read_from_its_first_line(tmp_path: Path, rotation: int) -> None:
    content = "".join(line(f"Line {n}: the valve opens at {n} bar", 60, 700 - 16 * n) for n in range(8))
    text = document(printed(tmp_path / "a.pdf", content, page=f"/Rotate {rotation}")).markdown
    places = [text.find(f"Line {n}: the valve opens at {n} bar") for n in range(8)]
    assert places == sorted(places)
    assert -1 not in places


@pytest.mark.parametrize(("turn", "step"), [(UPWARDS, 18), (DOWNWARDS, -18)])
def test_turned_lines_are_read_whole_and_in_order(tmp_path: Path, turn: str, step: int) -> None:
    content = "".join(
        line(f"Row {n:02}: account 40{n:02} remark RIGHTEND{n:02}", 300 + n * step, 400, turn=turn) for n in range(6)
    )
    text = document(printed(tmp_path / "a.pdf", content)).markdown
    places = [text.find(f"Row {n:02}: account 40{n:02} remark RIGHTEND{n:02}") for n in range(6)]
    assert places == sorted(places)
    assert -1 not in places


def test_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    content = line("Two columns", 60, 780, size=18)
    for n in range(12):
        content += line(f"left sentence {n} speaks about apples and some pears", 60, 740 - 14 * n)
        content += line(f"right sentence {n} tells about ships and the sea", 320, 740 - 14 * n)
    text = document(printed(tmp_path / "a.pdf", content)).markdown
    order = [text.find(words) for words in ("# Two columns", "left sentence 0", "left sentence 11", "right sentence 0")]
    assert order == sorted(order)
    assert -1 not in order


def test_three_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    content = ""
    for n in range(12):
        for column, place in enumerate((40, 220, 400)):
            content += line(f"column {column} line {n} on ships at sea", place, 740 - 14 * n)
    text = document(printed(tmp_path / "a.pdf", content)).markdown
    order = [text.find(f"column {column} line {n} ") for column in range(3) for n in range(12)]
    assert order == sorted(order)
    assert -1 not in order


def test_columns_are_seen_though_each_word_is_printed_by_itself(tmp_path: Path) -> None:
    content = ""
    for n in range(10):
        for side, place in (("left", 60), ("right", 330)):
            at = float(place)
            for word in f"{side} line{n} speaks of apples and of pears".split():
                content += line(word, at, 740 - 14 * n)
                at += 5.2 * len(word) + 3
    text = document(printed(tmp_path / "a.pdf", content)).markdown
    assert 0 <= text.find("left line9") < text.find("right line0")


def test_columns_of_a_table_are_rows(tmp_path: Path) -> None:
    content = ""
    for n in range(12):
        content += line(f"Port {n}", 60, 740 - 14 * n) + line(f"{n} m", 320, 740 - 14 * n)
    text = document(printed(tmp_path / "a.pdf", content)).markdown
    assert "Port 3 3 m" in text.replace(" | ", " ")


def unnamed(*names: str) -> str:
    """A font that has signs for the codes from 1 on, and does not say which letters they are."""
    differences = " ".join(f"{n} /{name}" for n, name in enumerate(names, 1))
    encoding = f"<< /Type /Encoding /BaseEncoding /WinAnsiEncoding /Differences [{differences}] >>"
    return f"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding {encoding} >>"


def test_signs_without_a_letter_are_the_ligatures_that_make_words(tmp_path: Path) -> None:
    content = line("veiligheidsvoorschri\\001en blij\\001 di\\002erent, con\\003guration of the o\\002ice", 60, 760)
    text = document(printed(tmp_path / "a.pdf", content, font=unnamed("g17", "g18", "g19"))).markdown
    assert text.strip() == "veiligheidsvoorschriften blijft different, configuration of the office"


def test_a_sign_that_makes_no_word_is_told(tmp_path: Path) -> None:
    parsed = document(
        printed(tmp_path / "a.pdf", line("all is well but \\001 stands alone here", 60, 760), font=unnamed("g1"))
    )
    assert [(warning.kind, warning.place) for warning in parsed.warnings] == [("unknown_signs", "page 1")]


def test_a_page_whose_font_says_no_letters_counts_as_a_scan(tmp_path: Path) -> None:
    codes = "".join(f"\\{8 + n % 20:03o}" for n in range(3, 60))
    font = unnamed(*(f"g{n}" for n in range(1, 40)))
    parsed = document(printed(tmp_path / "a.pdf", line(codes, 60, 760), font=font))
    assert parsed.markdown.strip() == ""
    assert {warning.kind for warning in parsed.warnings} == {"unusable_font", "not_recognised"}


def test_letters_that_make_no_words_count_as_a_scan(tmp_path: Path) -> None:
    said = "the moon pulls the water towards itself and sailors have known since ancient times that ports follow"
    letters = "abcdefghijklmnopqrstuvwxyz"
    shifted = [said.translate(str.maketrans(letters, letters[3:] + letters[:3]))] * 4
    content = "".join(line(text, 40, 760 - 14 * n) for n, text in enumerate(shifted))
    parsed = document(printed(tmp_path / "a.pdf", content))
    assert parsed.markdown.strip() == ""
    assert "unusable_font" in {warning.kind for warning in parsed.warnings}


def test_what_was_filled_in_stands_beside_its_label(tmp_path: Path) -> None:
    content = line("Applicant:", 60, 760) + line("Agree", 60, 720)
    fields = (
        "<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Ada Lovelace) /Rect [150 755 400 772] /P 10 0 R >>\n"
        "<< /Type /Annot /Subtype /FreeText /Contents (checked by Kim) /Rect [150 715 400 732] /P 10 0 R >>\n"
    )
    form = "/AcroForm << /Fields [90 0 R] >>"
    path = printed(tmp_path / "a.pdf", content, page="/Annots [90 0 R 91 0 R]", catalog=form, more=fields)
    text = document(path).markdown
    assert "Applicant: Ada Lovelace" in text
    assert "Agree checked by Kim" in text


def test_a_hyphen_at_a_lines_end_stays_in_an_identifier_and_goes_from_a_word(tmp_path: Path) -> None:
    lines = (
        "The pump of the new series is now called by its makers the pump X-",
        "100 and is sold by all of the deal-",
        "ers.",
    )
    content = "".join(line(text, 60, 760 - 12 * n) for n, text in enumerate(lines))
    text = document(printed(tmp_path / "a.pdf", content)).markdown
    assert "X-100" in text
    assert "dealers" in text


def test_right_to_left_lines_keep_the_order_of_their_words(tmp_path: Path) -> None:
    """A program draws them from the left: the last letter of the last word first."""
    shin, lamed, vav, mem, ayin = "afii57689", "afii57676", "afii57669", "afii57677", "afii57682"
    drawn = "\\004\\002\\003\\005 \\004\\003\\002\\001"
    text = document(
        printed(tmp_path / "a.pdf", line(drawn, 60, 760), font=unnamed(shin, lamed, vav, mem, ayin))
    ).markdown
    assert text.strip() == "שלום עולם"
