"""Slides as they are shown: order of the eye, groups, tables, charts, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.indexer.office_files import A, C, P, R, package, relations

from aperag_indexer.reading.ooxml.slides import pages_of

if TYPE_CHECKING:
    from pathlib import Path


def shape(text: str, y: int = 0, x: int = 0, kind: str = "") -> str:
    placeholder = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    place = f'<p:spPr><a:xfrm><a:off x="{x}" y="{y}"/></a:xfrm></p:spPr>'
    return f"<p:sp>{placeholder}{place}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"


def show(path: Path, *slides: str, hidden: bool = False, **more: str) -> dict[int, str]:
    """The first slide may use ``more`` parts, by their kind."""
    ids = "".join(f'<p:sldId id="{256 + n}" r:id="r{n}"/>' for n in range(len(slides)))
    off = ' show="0"' if hidden else ""
    parts = {
        "ppt/presentation.xml": f"<p:presentation {P} {R}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            **{f"r{n}": ("slide", f"slides/slide{n + 1}.xml") for n in range(len(slides))}
        ),
        **{
            f"ppt/slides/slide{n + 1}.xml": f"<p:sld {P} {A} {R} {C}{off}><p:cSld><p:spTree>{body}</p:spTree></p:cSld></p:sld>"
            for n, body in enumerate(slides)
        },
        "ppt/slides/_rels/slide1.xml.rels": relations(**{kind: (kind, f"../parts/{kind}.xml") for kind in more}),
        **{f"ppt/parts/{kind}.xml": text for kind, text in more.items()},
    }
    return pages_of(package(path / "a.pptx", "ppt/presentation.xml", "presentationml.presentation", parts))


def test_shapes_are_read_from_the_top_and_titles_first(tmp_path: Path) -> None:
    body = shape("low", 5_000_000) + shape("right", 2_000_100, 4_000_000) + shape("left", 2_000_200, 0)
    assert show(tmp_path, body + shape("R&amp;D", 0, 0, "title")) == {0: "## R&D\n\nleft\n\nright\n\nlow"}


def test_groups_are_read_and_numbers_of_slides_are_not(tmp_path: Path) -> None:
    group = f"<p:grpSp><p:grpSp>{shape('deep')}</p:grpSp>{shape('outer', 9_000_000)}</p:grpSp>"
    assert show(tmp_path, group + shape("7", kind="sldNum")) == {0: "deep\n\nouter"}


def test_dates_and_footers_are_read(tmp_path: Path) -> None:
    body = shape("text") + shape("2025-04-14", 9_000_000, kind="dt") + shape("QM-4711", 9_000_000, 900, kind="ftr")
    assert show(tmp_path, body) == {0: "text\n\n2025-04-14\n\nQM-4711"}


def test_a_charts_values_are_a_table(tmp_path: Path) -> None:
    def cache(kind: str, *values: str, code: str = "") -> str:
        points = "".join(f'<c:pt idx="{n}"><c:v>{value}</c:v></c:pt>' for n, value in enumerate(values))
        return f"<c:{kind}>{code}{points}</c:{kind}>"

    percent = "<c:formatCode>0.0%</c:formatCode>"
    series = (
        f"<c:ser><c:tx>{cache('strCache', 'Share')}</c:tx><c:cat>{cache('strCache', 'East', 'West')}</c:cat>"
        f"<c:val>{cache('numCache', '0.192', '0.214', code=percent)}</c:val></c:ser>"
    )
    title = "<c:title><a:p><a:r><a:t>Sales</a:t></a:r></a:p></c:title>"
    chart = f"<c:chartSpace {C} {A}>{title}{series}</c:chartSpace>"
    frame = (
        '<p:graphicFrame><a:graphic><a:graphicData><c:chart r:id="chart"/></a:graphicData></a:graphic></p:graphicFrame>'
    )
    wanted = "Sales\n\n|  | Share |\n| --- | --- |\n| East | 19.2% |\n| West | 21.4% |"
    assert show(tmp_path, frame, chart=chart) == {0: wanted}


def test_merged_cells_repeat_their_value(tmp_path: Path) -> None:
    def cell(text: str, how: str = "") -> str:
        return f"<a:tc{how}><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"

    merged = [cell("Head", " gridSpan='2'"), cell("", " hMerge='1'")]
    head = f"<a:tr>{''.join(merged)}</a:tr>"
    frame = f"<p:graphicFrame><a:tbl>{head}<a:tr>{cell('a')}{cell('b')}</a:tr></a:tbl></p:graphicFrame>"
    assert show(tmp_path, frame) == {0: "| Head | Head |\n| --- | --- |\n| a | b |"}


def test_notes_and_hidden_slides_are_marked(tmp_path: Path) -> None:
    notes = f"<p:notes {P} {A}>{shape('Speak <slowly>'.replace('<', '&lt;'), kind='body')}{shape('1', kind='sldNum')}</p:notes>"
    assert show(tmp_path, shape("T", kind="title"), "", hidden=True, notesSlide=notes) == {
        0: "## T\n\n(hidden slide)\n\nNotes: Speak <slowly>",
        1: "(hidden slide)",
    }
