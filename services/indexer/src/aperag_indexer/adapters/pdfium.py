"""What PDFium knows of a page: every sign with its place, the values of forms, and what has no letters behind it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pypdfium2
from pypdfium2 import raw as generated

from aperag_common import errors
from aperag_indexer.reading.glyphs import UNMAPPED, Glyph, Sheet, Widget

if TYPE_CHECKING:
    from pathlib import Path

raw: Any = generated
"""PDFium's own functions; the module is made when it is loaded, so that type checkers find nothing in it."""
_FREE_TEXT = {raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_TEXT}
_TICKED = {raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON}
_VALUED = {raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX}


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as err:
        message = "The document is damaged: it is no PDF that can be opened. Save it again and upload that."
        raise errors.CorruptDocument(message) from err
    try:
        document.init_forms()
        yield document
    finally:
        document.close()


def page_count(path: Path) -> int:
    """0 where it cannot be opened: whoever reads it says why."""
    try:
        with pypdfium2.PdfDocument(path) as document:
            return len(document)
    except pypdfium2.PdfiumError:
        return 0


def sheets(document: Any) -> Iterator[Sheet]:
    """Page by page: a long document does not lie in memory as signs."""
    for number in range(len(document)):
        page = document[number]
        text = page.get_textpage()
        try:
            plain = text.get_text_range() if text.count_chars() else ""
            widgets = tuple(_widgets(document, page))
            upright = page.get_rotation() == 0 and not _tilted(text)
            glyphs = partial(_glyphs, text)
            yield Sheet(number, plain, upright, widgets, glyphs, _runs(text), has_pictures=_has_pictures(page))
        finally:
            text.close()
            page.close()


def _tilted(text: Any) -> bool:
    """Whether a sign is turned; looking at each tenth is enough, for no word is shorter in print."""
    return any(abs(raw.FPDFText_GetCharAngle(text.raw, n)) > 0.1 for n in range(0, text.count_chars(), 5))


def _has_pictures(page: Any) -> bool:
    return next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None


def _runs(text: Any) -> list[tuple[float, float, float, float]]:
    """Boxes of the pieces that the page is printed in, as left, bottom, right, top."""
    return [text.get_rect(number) for number in range(text.count_rects())]


def _glyphs(text: Any) -> Iterator[Glyph]:
    page = text.raw
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    for number in range(text.count_chars()):
        code = raw.FPDFText_GetUnicode(page, number)
        if raw.FPDFText_IsGenerated(page, number) and code in {0, 10, 13}:
            continue
        raw.FPDFText_GetCharBox(page, number, left, right, bottom, top)
        letter = chr(code) if code else ""
        if raw.FPDFText_HasUnicodeMapError(page, number) == 1 and not letter.isalnum():
            letter = chr(UNMAPPED + code) if code < 256 else "\ufffd"
        yield Glyph(
            letter,
            left.value,
            bottom.value,
            right.value,
            top.value,
            raw.FPDFText_GetFontSize(page, number),
            raw.FPDFText_GetCharAngle(page, number),
            is_made_up=raw.FPDFText_IsGenerated(page, number) == 1,
        )


def _widgets(document: Any, page: Any) -> Iterator[Widget]:
    """What was filled in, and what was written on top of the page."""
    form = document.formenv.raw if document.formenv is not None else None
    for number in range(raw.FPDFPage_GetAnnotCount(page.raw)):
        annotation = raw.FPDFPage_GetAnnot(page.raw, number)
        try:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            said = ""
            if kind == raw.FPDF_ANNOT_WIDGET and form is not None:
                said = _field(form, annotation)
            elif kind in _FREE_TEXT:
                said = _string(lambda b, n, a=annotation: raw.FPDFAnnot_GetStringValue(a, b"Contents", b, n))
            box = raw.FS_RECTF()
            if said.strip() and raw.FPDFAnnot_GetRect(annotation, box):
                yield Widget(said.strip(), box.left, box.bottom, box.right, box.top)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)


def _field(form: Any, annotation: Any) -> str:
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in _TICKED:
        return "[x]" if raw.FPDFAnnot_IsChecked(form, annotation) else "[ ]"
    if kind in _VALUED:
        return _string(lambda buffer, size: raw.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, size))
    return ""


def _string(call: Any) -> str:
    """Of a function that tells the size when it is given no room."""
    size = call(None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    call(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", errors="ignore")
