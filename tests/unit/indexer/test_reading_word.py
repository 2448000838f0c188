"""Everything that a page of Word shows, once, as it stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.unit.indexer.office_files import A, C, W, p, r, word

from aperag_indexer.reading.completeness import lost_from
from aperag_indexer.reading.media import true_suffix
from aperag_indexer.reading.ooxml.word import PAGE_BREAK, markdown_of

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, body: str, **more: str) -> str:
    written = word(path / "a.docx", body, **more)
    markdown = markdown_of(written)
    assert list(lost_from(written, ".docx", markdown)) == []
    return markdown.strip()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (p(r("A &lt; B &amp;&amp; C &gt;= 5; AT&amp;T &lt;script&gt;")), "A < B && C >= 5; AT&T <script>"),
        (p("<w:r><w:t>Total</w:t><w:tab/><w:t>1,250.00</w:t></w:r>"), "Total\t1,250.00"),
        (p(r("Rück", "<w:b/>"), r("gabe"), r("frist", "<w:b/>")), "Rückgabefrist"),
        (p(r("C:\\temp\\new_file *star* a|b [x]")), "C:\\temp\\new_file *star* a|b [x]"),
        (p("<w:r><w:t>one</w:t><w:br/><w:t>two</w:t><w:cr/><w:t>three</w:t></w:r>"), "one\ntwo\nthree"),
        (p("<w:r><w:t>X</w:t><w:noBreakHyphen/><w:t>100 so</w:t><w:softHyphen/><w:t>ft</w:t></w:r>"), "X-100 soft"),
        (p(r("10"), r("6", '<w:vertAlign w:val="superscript"/>'), r(" H"), r("2", '<w:vertAlign w:val="subscript"/>'), r("O")), "10^6 H2O"),
        (p(r("was "), r("500", "<w:strike/>"), r(" EUR", "<w:strike/>"), r(" now 420", '<w:strike w:val="0"/>')), "was ~~500 EUR~~ now 420"),
        (p('<w:r><w:sym w:font="Symbol" w:char="F061"/></w:r>', r(" and "), '<w:r><w:sym w:font="Wingdings" w:char="F0FE"/></w:r>'), "α and ☑"),
        (p('<w:r><w:fldChar w:fldCharType="begin"/><w:instrText>REF x</w:instrText></w:r>', r("Table 3")), "Table 3"),
        (p("<w:hyperlink>" + r("link") + "</w:hyperlink><w:fldSimple>" + r(" field") + "</w:fldSimple>"), "link field"),
        (p("<w:ruby><w:rubyPr/><w:rt>" + r("かん") + "</w:rt><w:rubyBase>" + r("漢") + "</w:rubyBase></w:ruby>"), "(かん)漢"),
        ("<w:sdt><w:sdtPr/><w:sdtContent>" + p(r("in a control")) + "</w:sdtContent></w:sdt>", "in a control"),
        (p(r("# no heading")), "\\# no heading"),
        (p(r("hidden", "<w:vanish/>")), "hidden"),
    ],
)  # fmt: skip
def test_the_text_of_a_paragraph_stands_as_it_is_shown(tmp_path: Path, body: str, text: str) -> None:
    assert read(tmp_path, body) == text


def test_changes_are_read_as_accepted_and_moved_text_once(tmp_path: Path) -> None:
    body = p(
        "<w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:ins>" + r("new") + "</w:ins>",
        "<w:moveFrom>" + r(" moved") + "</w:moveFrom>",
    ) + p("<w:moveTo>" + r("moved") + "</w:moveTo>")
    assert read(tmp_path, body) == "new\n\nmoved"


def test_notes_stand_below_the_paragraph_that_names_them(tmp_path: Path) -> None:
    notes = f'<w:footnotes {W}><w:footnote w:type="separator" w:id="0">{p()}</w:footnote>'
    notes += f'<w:footnote w:id="2">{p(r("First &amp; note."))}</w:footnote></w:footnotes>'
    ends = f'<w:endnotes {W}><w:endnote w:id="3">{p(r("At the end."))}</w:endnote></w:endnotes>'
    body = p(r("Text"), '<w:r><w:footnoteReference w:id="2"/></w:r>', '<w:r><w:endnoteReference w:id="3"/></w:r>')
    assert (
        read(tmp_path, body, footnotes=notes, endnotes=ends)
        == "Text[^2][^3]\n\n[^2]: First & note.\n\n[^3]: At the end."
    )


def test_formulas_stay_in_their_place(tmp_path: Path) -> None:
    fraction = "<m:f><m:num><m:r><m:t>a+b</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f>"
    power = "<m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t></m:r></m:sup></m:sSup>"
    body = p(r("so "), f"<m:oMath>{fraction}<m:r><m:t>=</m:t></m:r>{power}</m:oMath>", r(" holds"))
    assert read(tmp_path, body) == "so (a+b)/2=x^2 holds"


def test_a_main_part_of_another_name_is_found_by_its_relationship(tmp_path: Path) -> None:
    path = word(tmp_path / "a.docx", p(r("text")), main="custom/text2.xml")
    assert true_suffix(path, ".docx") == ".docx"
    assert markdown_of(path).strip() == "text"


def test_text_boxes_are_read_once(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{p(r('inside'))}</w:txbxContent>"
    body = p(
        r("before"), f"<w:r><AlternateContent><Choice>{box}</Choice><Fallback>{box}</Fallback></AlternateContent></w:r>"
    )
    assert read(tmp_path, body) == "before\n\ninside"


def test_charts_and_diagrams_are_read_where_they_stand(tmp_path: Path) -> None:
    def cache(kind: str, value: str) -> str:
        return f'<c:{kind}><c:pt idx="0"><c:v>{value}</c:v></c:pt></c:{kind}>'

    series = f"<c:ser><c:tx>{cache('strCache', 'Q1')}</c:tx><c:cat>{cache('strCache', 'East')}</c:cat>"
    chart = f"<c:chartSpace {C} {A}>{series}<c:val>{cache('numCache', '19.2')}</c:val></c:ser></c:chartSpace>"
    diagram = f"<d:data xmlns:d='urn:d' {A}><d:t><a:p><a:r><a:t>First step</a:t></a:r></a:p></d:t></d:data>"
    frames = f'<w:r><w:drawing><c:chart {C} r:id="rchart"/></w:drawing></w:r>'
    frames += '<w:r><w:drawing><d:relIds xmlns:d="urn:d" r:dm="rdiagramData"/></w:drawing></w:r>'
    text = read(tmp_path, p(r("before"), frames), chart=chart, diagramData=diagram)
    assert text == "before\n\n|  | Q1 |\n| --- | --- |\n| East | 19.2 |\n\nFirst step"


def test_headings_are_known_by_the_style_whatever_its_language_calls_it(tmp_path: Path) -> None:
    styles = f'<w:styles {W}><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
    styles += '<w:style w:styleId="Own"><w:name w:val="Own"/><w:basedOn w:val="berschrift1"/></w:style></w:styles>'
    body = p(r("One"), style="berschrift1") + p(r("Two"), style="Own")
    body += '<w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr>' + r("Three") + "</w:p>"
    assert read(tmp_path, body, styles=styles) == "# One\n\n# Two\n\n## Three"


def test_lists_are_numbered_as_word_shows_them(tmp_path: Path) -> None:
    levels = '<w:lvl w:ilvl="0"><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>'
    levels += '<w:lvl w:ilvl="1"><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>'
    numbering = f'<w:numbering {W}><w:abstractNum w:abstractNumId="7">{levels}</w:abstractNum>'
    numbering += '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num></w:numbering>'
    depths = (0, 1, 1, 0)
    items = (
        f'<w:p><w:pPr><w:numPr><w:ilvl w:val="{d}"/><w:numId w:val="1"/></w:numPr></w:pPr>{r(f"item {n}")}</w:p>'
        for n, d in enumerate(depths)
    )
    assert read(tmp_path, "".join(items), numbering=numbering) == "1. item 0\n1.a) item 1\n1.b) item 2\n2. item 3"


def test_merged_cells_repeat_their_value_and_cells_keep_their_signs(tmp_path: Path) -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{p(r(text)) if text else p()}</w:tc>"

    rows = [
        cell("P&amp;L") + cell("&lt;5 mg | x", '<w:gridSpan w:val="2"/>'),
        cell("North", '<w:vMerge w:val="restart"/>') + cell("Delhi") + cell("33"),
        cell("", "<w:vMerge/>") + cell("Lucknow") + cell("4"),
    ]
    table = "<w:tbl>" + "".join(f"<w:tr>{cells}</w:tr>" for cells in rows) + "</w:tbl>"
    assert read(tmp_path, table) == (
        "| P&L | <5 mg \\| x | <5 mg \\| x |\n| --- | --- | --- |\n| North | Delhi | 33 |\n| North | Lucknow | 4 |"
    )


def test_pages_end_where_word_laid_them_out(tmp_path: Path) -> None:
    body = p(r("one")) + p("<w:r><w:lastRenderedPageBreak/><w:t>two</w:t></w:r>", '<w:r><w:br w:type="page"/></w:r>')
    assert read(tmp_path, body) == f"one\n\n{PAGE_BREAK}two"


def test_margins_are_read_where_they_say_more_than_a_page_number(tmp_path: Path) -> None:
    header = f"<w:hdr {W}>{p(r('QM-4711 rev 3'))}</w:hdr>"
    footer = f"<w:ftr {W}>{p(r('Page 1 of 3'))}</w:ftr>"
    assert read(tmp_path, p(r("x")), header=header, footer=footer) == "x\n\n## Headers and footers\n\n- QM-4711 rev 3"


def test_building_blocks_that_no_page_shows_are_no_loss(tmp_path: Path) -> None:
    blocks = f"<w:glossaryDocument {W}>{p(r('Click here to enter text'))}</w:glossaryDocument>"
    assert read(tmp_path, p(r("x")), **{"glossary/document": blocks}) == "x"


def test_what_a_reader_loses_is_told(tmp_path: Path) -> None:
    path = word(tmp_path / "a.docx", p(r("some words")))
    (warning,) = lost_from(path, ".docx", "some")
    assert (warning.kind, warning.place) == ("text_lost", "word/document.xml")
    assert "5 of 9 letters" in warning.message
