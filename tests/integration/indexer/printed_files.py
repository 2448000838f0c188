"""Small PDF files, written object by object."""

from __future__ import annotations

from pathlib import Path

HELVETICA = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"


def printed(
    path: Path, *contents: str, page: str = "", font: str = HELVETICA, catalog: str = "", more: str = ""
) -> Path:
    """A page per content; ``page`` and ``catalog`` are further entries, ``more`` further objects by number from 90."""
    kids = " ".join(f"{10 + 2 * n} 0 R" for n in range(len(contents)))
    objects = {
        1: f"<< /Type /Catalog /Pages 2 0 R {catalog} >>",
        2: f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>",
        3: font,
    }
    for n, content in enumerate(contents):
        objects[10 + 2 * n] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {11 + 2 * n} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> >> {page} >>"
        )
        objects[11 + 2 * n] = f"<< /Length {len(content)} >>\nstream\n{content}\nendstream"
    for n, body in enumerate(filter(None, more.split("\n"))):
        objects[90 + n] = body
    body = "%PDF-1.4\n"
    places = {}
    for number, text in objects.items():
        places[number] = len(body)
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{number} 1\n{place:010d} 00000 n \n" for number, place in places.items())
    end = f"xref\n0 1\n0000000000 65535 f \n{table}trailer << /Size 200 /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    path.write_bytes((body + end).encode("latin-1"))
    return path


def line(text: str, x: float, y: float, *, size: int = 10, turn: str = "1 0 0 1") -> str:
    return f"BT /F1 {size} Tf {turn} {x} {y} Tm ({text}) Tj ET\n"
