"""Web pages, notes, tables of text, books and messages keep all they say and lose what only programs read."""

from __future__ import annotations

import base64
import zipfile
from typing import TYPE_CHECKING

import pytest

from aperag_common import errors
from aperag_indexer.reading.books import read_book
from aperag_indexer.reading.completeness import check_plausible
from aperag_indexer.reading.mail import read_message
from aperag_indexer.reading.markup import guarded, readable
from aperag_indexer.reading.notes import read_note
from aperag_indexer.reading.records import read_json, render
from aperag_indexer.reading.separated import markdown_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("html", "held"),
    [
        ("<p>10<sup>6</sup> m<sup>2</sup> 5<sup>th</sup> x<sub>i</sub> H<sub>2</sub>O</p>", "10^6 m2 5th x_i H2O"),
        ("<aside>said <b>aside</b></aside><div class='menu'>soup</div>", "soup"),
        ("<aside>said <b>aside</b></aside>", "<div>said <b>aside</b></div>"),
        ("<math alttext='x^2'><mi>x</mi></math>", "x^2"),
        ("<ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp></ruby>", "漢(かん)"),
        ("<input value='Ada'><input type='hidden' value='token'>", "Ada"),
    ],
)
def test_a_page_is_made_ready_for_its_reader(html: str, held: str) -> None:
    assert held in readable(f"<body>{html}</body>")


@pytest.mark.parametrize(
    "html", ["<img src='data:image/png;base64,AAAA'>", "<nav>x</nav>", "<svg><text>x</text></svg>"]
)
def test_what_only_programs_read_is_gone(html: str) -> None:
    assert readable(f"<p>kept</p>{html}").replace("<img>", "") == "<html><body><p>kept</p></body></html>"


def test_spanned_cells_stand_in_every_row_and_column() -> None:
    page = "<table><tr><th colspan=2>A</th></tr><tr><td rowspan=2>N</td><td>1</td></tr><tr><td>2</td></tr></table>"
    assert readable(page).count("<td>N</td>") == 2
    assert readable(page).count("<th>A</th>") == 2
    assert len(readable("<table><tr><td rowspan=65534 colspan=65534>x</td></tr></table>")) < 20_000


def test_a_table_that_lays_out_others_is_no_table() -> None:
    page = "<table><tr><td>outer</td><td><table><tr><td>inner</td></tr></table></td></tr></table>"
    assert readable(page).count("<table") == 1
    assert "inner" in readable(page)


def test_a_sign_that_begins_no_tag_is_a_sign() -> None:
    assert guarded("AT&T > 3% <b>bold</b> x<y and a <br/> <5") == "AT&T > 3% <b>bold</b> x&lt;y and a <br/> &lt;5"


def test_records_keep_their_numbers_and_fields_as_written() -> None:
    text = '{"a": 1e5, "b": 1.10, "c": 12345678901234567890, "d": true, "a": "x<y", "e": NaN}'
    assert render(read_json(text), html=str).split("\n") == [
        *("a: 1e5", "b: 1.10", "c: 12345678901234567890", "d: true", "a: x<y", "e: NaN", "")
    ]


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("sep=;\nname;units\nwidget;12\n", "| name | units |\n| --- | --- |\n| widget | 12 |"),
        ("a;b\n1,5;2\n3,5;4\n", "| a | b |\n| --- | --- |\n| 1,5 | 2 |\n| 3,5 | 4 |"),
        ('cmd,what\n"ls | grep",AT&T\n', "| cmd | what |\n| --- | --- |\n| ls \\| grep | AT&T |"),
        ('a,b\n"x ""y""\nz",2\n', '| a | b |\n| --- | --- |\n| x "y" z | 2 |'),
        ("a\tb\n1\t2\n", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
        ('size,n\n5",1\n', '| size | n |\n| --- | --- |\n| 5" | 1 |'),
        ("Stock list,,\n,,\nname,n,\nx,1,\n", "### Stock list\n\n| name | n |\n| --- | --- |\n| x | 1 |"),
        ("one\ntwo\n", "| one |\n| --- |\n| two |"),
        ("a,b\n1\n1,2,3\n", "| a | b |  |\n| --- | --- | --- |\n| 1 |  |  |\n| 1 | 2 | 3 |"),
    ],
)
def test_separated_values_are_a_table(text: str, table: str) -> None:
    assert markdown_of(text) == table + "\n"


def test_a_quote_that_nobody_closed_swallows_no_rows() -> None:
    rows = markdown_of('name,size\npipe,"5 inch\n' + "x,1\n" * 100)
    assert rows.count("| x | 1 |") == 100


def test_front_matter_gives_the_title_and_stays_searchable() -> None:
    text = (
        '---\ntitle: "Return policy"\ntags: [returns, refunds]\n# remark\nauthors:\n  - Kim\n  - Lee\n---\n\nGoods.\n'
    )
    note = read_note(text)
    assert note.title == "Return policy"
    assert note.markdown == "# Return policy\n\ntags: returns, refunds\nauthors: Kim, Lee\n\nGoods.\n"


def test_two_rules_are_no_front_matter() -> None:
    text = "---\nJust a sentence between rules.\n---\nmore\n"
    assert read_note(text).markdown == text


def test_pictures_written_out_as_letters_are_their_descriptions() -> None:
    text = (
        'a ![a pump](data:image/png;base64,iVBOR/w0K+Ggo= "t") b <img src="data:image/gif;base64,R0lG"> data: is a word'
    )
    assert read_note(text).markdown == 'a a pump b <img src=""> data: is a word'


def test_every_chapter_of_a_book_is_read_and_a_missing_one_is_told(tmp_path: Path) -> None:
    items = "".join(
        f'<item id="{n}" href="{href}"/>' for n, href in enumerate(("b%20two.xhtml", "a.xhtml", "gone.xhtml"))
    )
    spine = "".join(f'<itemref idref="{n}"/>' for n in (1, 0, 2))
    opf = f"<package><metadata><title>Tea &amp; more</title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
    with zipfile.ZipFile(tmp_path / "a.epub", "w") as packed:
        packed.writestr("META-INF/container.xml", '<c><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></c>')
        packed.writestr("O/c.opf", opf)
        packed.writestr("O/a.xhtml", "<p>first")
        packed.writestr("O/b two.xhtml", "<p>second")
    book = read_book(tmp_path / "a.epub")
    assert (book.title, book.chapters) == ("Tea & more", ["<p>first", "<p>second"])
    assert [(warning.kind, warning.place) for warning in book.warnings] == [("missing_part", "gone.xhtml")]


MESSAGE = """\
From: =?utf-8?b?6rmA?= <kim@example.org>
To: lee@example.org
Date: Mon, 14 Apr 2025 09:30:00 +0900
Subject: =?utf-8?Q?R=26D_=3C5=25?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=euc-kr
Content-Transfer-Encoding: base64

{body}
--c
Content-Type: text/html

<p>the same</p>
--c--
--b
Content-Type: text/csv
Content-Disposition: attachment; filename=prices.csv

a,b
--b
Content-Type: image/png
Content-Disposition: attachment; filename=pump.png
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--b
Content-Type: message/rfc822

Subject: inner

inner text
--b--
"""


def test_a_message_is_read_with_what_was_attached(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    path.write_text(
        MESSAGE.replace("{body}", base64.b64encode("반품은 7일 이내".encode("euc-kr")).decode()), encoding="ascii"
    )
    parsed = read_message(path, ".eml", html=str)
    assert parsed.title == "R&D <5%"
    parts = (
        "# R&D <5%",
        "From: 김 <kim@example.org>",
        "반품은 7일 이내",
        "## prices.csv",
        "a,b",
        "Attachment: pump.png",
        "## inner",
    )
    assert [part for part in parts if part not in parsed.markdown] == []
    assert "the same" not in parsed.markdown
    assert [(warning.kind, warning.place) for warning in parsed.warnings] == [("unread_attachment", "pump.png")]


@pytest.mark.parametrize("text", ["\ufffd\ufffd\ufffd ok", "\ue000\ue001 \ue002", "\x80\x81\x82 a"])
def test_text_that_is_no_text_is_refused(text: str) -> None:
    with pytest.raises(errors.CorruptDocument, match="unreadable"):
        check_plausible(text)


def test_a_few_unknown_signs_leave_a_text_a_text() -> None:
    check_plausible("A long enough sentence with one \ufffd in it.")
    check_plausible("")
