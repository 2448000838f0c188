"""Cells as a spreadsheet shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.indexer.office_files import S, row, sheet

from aperag_indexer.reading.ooxml.formats import BUILT_IN
from aperag_indexer.reading.ooxml.numbers import shown
from aperag_indexer.reading.ooxml.sheets import read_workbook
from aperag_retrieval.chunking import ChunkPolicy, chunk_document

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        ("45761", "yyyy-mm-dd", "2025-04-14"),
        ("45761", 'yyyy"년" m"월" d"일"', "2025년 4월 14일"),
        ("45761", '[$-412]yyyy"年"m"月"d"日"', "2025年4月14日"),
        ("45761", BUILT_IN[31], "2025-04-14"),
        ("45761", BUILT_IN[57], "2025-04-14"),
        ("45761", "d-mmm-yy", "14-Apr-25"),
        ("45761", "dddd, mmmm d, yyyy", "Monday, April 14, 2025"),
        ("45761.39583333334", "yyyy-mm-dd hh:mm", "2025-04-14 09:30"),
        ("45761.75", "m/d/yy h:mm AM/PM", "4/14/25 6:00 PM"),
        ("0.75", '上午/下午h"时"mm"分"', "下午6时00分"),
        ("0.7395833333333334", "h:mm", "17:45"),
        ("1.25", "[h]:mm", "30:00"),
        ("75.5", "[h]:mm:ss", "1812:00:00"),
        ("0.5", "[mm]:ss", "720:00"),
        ("0.000011574", "mm:ss.0", "00:01.0"),
        ("1", "yyyy-mm-dd", "1900-01-01"),
        ("-1", "yyyy-mm-dd", "-1"),
        ("0.475", "0.0%", "47.5%"),
        ("42", "00000", "00042"),
        ("1012345678", "000-0000-0000", "010-1234-5678"),
        ("8215551234", "(###) ###-####", "(821) 555-1234"),
        ("1234567.5", '#,##0.00 "€"', "1,234,567.50 €"),
        ("1234.5", "[$€-407] #,##0.00", "€ 1,234.50"),
        ("-1234.5", "#,##0.00;[Red](#,##0.00)", "(1,234.50)"),
        ("-5", "0", "-5"),
        ("-0.001", "0.00", "0.00"),
        ("0", '0;-0;"–"', "–"),
        ("0", '"Yes";;"No"', "No"),
        ("1234567", '0.0,,"M"', "1.2M"),
        ("99.995", "0.00", "100.00"),
        ("7", '0"개"', "7개"),
        ("100", "0 \\°\\C", "100 °C"),
        ("5", '[<10]"low";[>=10]"high"', "low"),
        ("0.5", "# ?/?", "1/2"),
        ("1.5", "# ?/?", "1 1/2"),
        ("12345.678", "0.00E+00", "1.23E+04"),
        ("6.02e+23", "General", "6.02E+23"),
        ("0.30000000000000004", "General", "0.3"),
        ("12345678901234570", "General", "12345678901234570"),
        ("3", "@", "3"),
        ("n/a", "0.00", "n/a"),
    ],
)
def test_a_number_is_written_as_its_format_says(value: str, code: str, text: str) -> None:
    assert shown(value, code) == text


def test_days_of_the_other_calendar_begin_in_1904() -> None:
    assert shown("0", "yyyy-mm-dd", since_1904=True) == "1904-01-01"


def sections(path: Path) -> str:
    return "\n\n".join(read_workbook(path).sections)


def test_a_cell_is_shown_by_its_style(tmp_path: Path) -> None:
    styles = '<numFmts><numFmt numFmtId="164" formatCode="00000"/></numFmts>'
    styles += '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="20"/></cellXfs>'
    strings = f"<sst {S}><si><t>a&amp;b</t></si><si><r><t>10</t></r><r><rPr><vertAlign val='superscript'/></rPr><t>6</t></r></si></sst>"
    cells = '<row r="1"><c r="A1" s="1"><v>42</v></c><c r="B1" s="2"><v>0.5</v></c><c r="C1" t="s"><v>0</v></c></row>'
    cells += (
        '<row r="2"><c r="A2" t="s"><v>1</v></c><c r="B2" t="b"><v>1</v></c><c r="C2" t="e"><v>#DIV/0!</v></c></row>'
    )
    path = sheet(tmp_path / "a.xlsx", cells, styles=styles, sharedStrings=strings)
    assert sections(path) == "## Stock\n\n| 00042 | 12:00 | a&b |\n| --- | --- | --- |\n| 10^6 | TRUE | #DIV/0! |"


def test_a_title_stands_above_and_every_chunk_repeats_the_header(tmp_path: Path) -> None:
    rows = (
        row(1, "Stock of Busan") + row(3, "Article", "Shelf") + "".join(row(n, f"ART-{n}", "R1") for n in range(4, 90))
    )
    text = sections(sheet(tmp_path / "a.xlsx", rows))
    assert text.startswith("## Stock\n\n### Stock of Busan\n\n| Article | Shelf |\n| --- | --- |\n| ART-4 | R1 |")
    chunks = chunk_document(text, ChunkPolicy(size=100, overlap=0))
    assert len(chunks) > 3
    assert all("| Article | Shelf |" in chunk.text for chunk in chunks if "ART-" in chunk.text)
    assert all(chunk.details["titles"][-1] == "Stock of Busan" for chunk in chunks if "ART-" in chunk.text)


def test_merged_cells_repeat_their_value_downwards(tmp_path: Path) -> None:
    rows = row(1, "Region", "City") + row(2, "North", "Delhi") + row(3, "", "Lucknow")
    merges = '<mergeCells><mergeCell ref="A2:A3"/></mergeCells>'
    assert "| North | Lucknow |" in sections(sheet(tmp_path / "a.xlsx", rows, after=merges))


def test_a_hidden_sheet_says_so(tmp_path: Path) -> None:
    assert sections(sheet(tmp_path / "a.xlsx", row(1, "x", "y"), state=' state="veryHidden"')).startswith(
        "## Stock (hidden)"
    )


def test_a_formula_that_nobody_computed_is_told(tmp_path: Path) -> None:
    cells = '<row r="1"><c r="A1" t="inlineStr"><is><t>sum</t></is></c><c r="B1"><f>A1*2</f></c></row>'
    (warning,) = read_workbook(sheet(tmp_path / "a.xlsx", cells)).warnings
    assert (warning.kind, warning.place) == ("formula_without_value", "Stock")
