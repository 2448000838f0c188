"""Documents are judged by their bytes, and refused before they can do harm."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from aperag_common import errors
from aperag_indexer.reading import archives
from aperag_indexer.reading.archives import check_unpacked
from aperag_indexer.reading.media import check_readable, true_suffix

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1024 * 1024
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


def zipped(**parts: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in parts.items():
            packed.writestr(name, body)
    return buffer.getvalue()


def office(name: str) -> bytes:
    return zipped(**{name: b"<x/>"})


def ole(*streams: str) -> bytes:
    return OLE + b"".join(stream.encode("utf-16-le") for stream in streams)


def stored(directory: Path, body: bytes) -> Path:
    path = directory / "document"
    path.write_bytes(body)
    return path


@pytest.mark.parametrize(
    ("suffix", "body", "true"),
    [
        (".pdf", b"%PDF-1.7", ".pdf"),
        (".pdf", b"junk before it\n%PDF-1.4", ".pdf"),
        (".jpeg", b"\xff\xd8\xff\xe0", ".jpg"),
        (".png", b"\xff\xd8\xff\xe0", ".jpg"),
        (".bmp", b"BM1234\x00\x00\x00\x00", ".bmp"),
        (".docx", office("word/document.xml"), ".docx"),
        (".doc", office("word/document.xml"), ".docx"),
        (".doc", b"{\\rtf1 text}", ".rtf"),
        (".doc", ole("WordDocument"), ".doc"),
        (".docx", ole("WordDocument"), ".doc"),
        (".xls", ole("Workbook"), ".xls"),
        (".xls", b"\n<html><table></table></html>", ".html"),
        (".ppt", ole("PowerPoint Document"), ".ppt"),
        (".epub", office("META-INF/container.xml"), ".epub"),
        (".txt", b"BMW is a maker of cars", ".txt"),
        (".csv", b"a,b", ".csv"),
    ],
)
def test_a_document_is_read_as_what_it_is(tmp_path: Path, suffix: str, body: bytes, true: str) -> None:
    assert true_suffix(stored(tmp_path, body), suffix) == true


@pytest.mark.parametrize(
    ("suffix", "body", "said"),
    [
        (".pdf", PNG, "a PNG picture"),
        (".docx", office("x.txt"), "a packed archive"),
        (".docx", office("xl/workbook.bin"), ".xlsb"),
        (".txt", b"MZ\x90\x00", "a program"),
        (".md", b"%PDF-1.4", "a PDF"),
        (".pdf", b"no signature", "does not begin as a .pdf"),
        (".docx", b"PK\x03\x04 torn", "damaged"),
        (".xls", OLE, "damaged"),
        (".png", b"GIF89a", "a GIF picture"),
    ],
)
def test_a_document_that_is_not_what_it_says_is_refused_by_name(
    tmp_path: Path, suffix: str, body: bytes, said: str
) -> None:
    with pytest.raises(errors.CorruptDocument, match=said):
        true_suffix(stored(tmp_path, body), suffix)


@pytest.mark.parametrize("suffix", [".docx", ".xlsx", ".pptx"])
def test_an_encrypted_office_document_names_the_password(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(errors.PasswordProtected, match="Remove the password"):
        true_suffix(stored(tmp_path, ole("EncryptionInfo", "EncryptedPackage")), suffix)


@pytest.mark.parametrize(
    ("suffix", "hint"), [(".zip", "Unpack"), (".gz", "Unpack"), (".mp3", "transcript"), (".bin", "PDF"), ("", "PDF")]
)
def test_what_has_no_reader_says_what_to_do(suffix: str, hint: str) -> None:
    with pytest.raises(errors.UnsupportedMedia, match=hint):
        check_readable(suffix)


def test_an_archive_within_the_limits_passes(tmp_path: Path) -> None:
    check_unpacked(stored(tmp_path, zipped(a=b"text" * 1000, b=b"")), largest=MIB)


def test_an_archive_that_unfolds_to_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.CorruptDocument, match="unpacks to 2 MB"):
        check_unpacked(stored(tmp_path, zipped(a=bytes(2 * MIB))), largest=MIB)


def test_an_archive_that_shrinks_beyond_belief_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.CorruptDocument, match="times its size"):
        check_unpacked(stored(tmp_path, zipped(a=bytes(40 * MIB))), largest=100 * MIB)


def test_an_archive_of_countless_parts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 2)
    with pytest.raises(errors.CorruptDocument, match="3 parts"):
        check_unpacked(stored(tmp_path, zipped(a=b"", b=b"", c=b"")), largest=MIB)


def test_an_archive_that_understates_its_size_is_refused(tmp_path: Path) -> None:
    body = zipped(a=bytes(MIB))
    lying = body.replace(MIB.to_bytes(4, "little"), (100).to_bytes(4, "little"))
    lying = lying.replace(zlib.crc32(bytes(MIB)).to_bytes(4, "little"), zlib.crc32(bytes(100)).to_bytes(4, "little"))
    with pytest.raises(errors.CorruptDocument, match="more than it states"):
        check_unpacked(stored(tmp_path, lying), largest=MIB)
