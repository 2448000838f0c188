"""Small Office packages, written part by part."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
M = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
C = 'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'
TYPES = "application/vnd.openxmlformats-officedocument"


def relations(**targets: tuple[str, str]) -> str:
    """Ids with kind and target."""
    entries = "".join(f'<Relationship Id="{i}" Type="urn:x/{k}" Target="{t}"/>' for i, (k, t) in targets.items())
    return f"<Relationships>{entries}</Relationships>"


def package(path: Path, main: str, content_type: str, parts: dict[str, str]) -> Path:
    types = f'<Types><Override PartName="/{main}" ContentType="{TYPES}.{content_type}.main+xml"/></Types>'
    files = {"[Content_Types].xml": types, "_rels/.rels": relations(m=("officeDocument", main)), **parts}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text.encode())
    path.write_bytes(buffer.getvalue())
    return path


def word(path: Path, body: str, *, main: str = "word/document.xml", **more: str) -> Path:
    """``more`` are further parts by their kind."""
    folder = main.rpartition("/")[0]
    name = main.rpartition("/")[2]
    parts = {main: f"<w:document {W} {M} {R}><w:body>{body}</w:body></w:document>"}
    parts |= {f"{folder}/{kind}.xml": text for kind, text in more.items()}
    parts[f"{folder}/_rels/{name}.rels"] = relations(**{f"r{k}": (k, f"{k}.xml") for k in more})
    return package(path, main, "wordprocessingml.document", parts)


def p(*runs: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}{''.join(runs)}</w:p>"


def r(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def sheet(path: Path, cells: str, *, styles: str = "", state: str = "", after: str = "", **more: str) -> Path:
    """A workbook of one sheet, ``cells`` being its rows and ``after`` what follows them."""
    parts = {
        "xl/workbook.xml": f'<workbook {S} {R}><sheets><sheet name="Stock" sheetId="1" r:id="r1"{state}/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(
            r1=("worksheet", "worksheets/sheet1.xml"),
            r2=("styles", "styles.xml"),
            r3=("sharedStrings", "sharedStrings.xml"),
        ),
        "xl/worksheets/sheet1.xml": f"<worksheet {S}><sheetData>{cells}</sheetData>{after}</worksheet>",
        "xl/styles.xml": f"<styleSheet {S}>{styles}</styleSheet>",
        **{f"xl/{name}.xml": text for name, text in more.items()},
    }
    return package(path, "xl/workbook.xml", "spreadsheetml.sheet", parts)


def row(number: int, *texts: str) -> str:
    cells = "".join(
        f'<c r="{chr(65 + n)}{number}" t="inlineStr"><is><t>{text}</t></is></c>' for n, text in enumerate(texts) if text
    )
    return f'<row r="{number}">{cells}</row>'
