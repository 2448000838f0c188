"""Uploads that are wrong in their form, their names or their number are refused and leave nothing behind."""

from __future__ import annotations

import asyncio
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_testing.refusals import DETAIL, Attack, misshapen, unrefused

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.settings import Settings

Person = Any
Victim = Any

INVALID = "INVALID_PARAMETER"
HEADERS = {"content-type": "multipart/form-data; boundary=BOUND"}


def form(*parameters: bytes, field: bytes = b"files", body: bytes = b"x") -> bytes:
    """A form as no HTTP library would write it: one part for each set of parameters of its disposition."""
    parts = [
        b'--BOUND\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (field, one, body)
        for one in parameters
    ]
    return b"".join([*parts, b"--BOUND--\r\n"])


def named(name: str | bytes) -> bytes:
    return b'; filename="%s"' % (name if isinstance(name, bytes) else name.encode())


def posted(content: bytes, content_type: str | bytes = HEADERS["content-type"]) -> dict[str, Any]:
    return {"content": content, "headers": {"content-type": content_type}}


GOOD = form(named("new.txt"), body=b"complete")

REFUSED_NAMES: dict[str, bytes] = {
    "unsupported suffix": named("tool.exe"),
    "no suffix": named("README"),
    "suffix alone": named(".pdf"),
    "suffix hidden": named("a.pdf.exe"),
    "empty suffix": named("a."),
    "dots": named("...."),
    "dots and a suffix": named("....txt"),
    "parent": named(".."),
    "folder": named("folder/"),
    "folder with backslash": named("folder\\"),
    "empty": named(""),
    "blank": named("   "),
    "missing": b"",
    "alternate stream": named("a.txt::$DATA"),
    "NUL": named("a\0b.txt"),
    "line break": named("a\nb.txt"),
    "tab": named("a\tb.txt"),
    "escape": named("a\x1b[31mb.txt"),
    "line separator": named("a\u2028b.txt"),
    "right-to-left override": named("a\u202etxt.md"),
    "half a surrogate pair": named(b"a\xed\xa0\x80b.txt"),
    "256 characters": named("a" * 252 + ".txt"),
    "300 characters": named("a" * 296 + ".txt"),
    "more than a header may hold": named("a" * 5000 + ".txt"),
    "Latin-1": named(b"caf\xe9.txt"),
    "extended form with NUL": b"; filename*=UTF-8''a%00.txt",
    "extended form in pieces": b'; filename*0="a"; filename*1=".txt"',
    "header injection": named("a\r\nContent-Type: text/html\r\n\r\nb.txt"),
}

ACCEPTED_NAMES: dict[str, tuple[bytes, str]] = {
    "suffix in upper case": (named("A.TXT"), "A.TXT"),
    "unquoted": (b"; filename=plain.txt", "plain.txt"),
    "a way up": (named("../../etc/up.txt"), "up.txt"),
    "absolute": (named("/etc/absolute.txt"), "absolute.txt"),
    "of Windows": (named("C:\\Users\\windows.txt"), "windows.txt"),
    "padded": (named("  padded.txt  "), "padded.txt"),
    "quoted": (named('say \\"hi\\".txt'), 'say "hi".txt'),
    "single quotes": (named("'; DROP TABLE document;--.txt"), "'; DROP TABLE document;--.txt"),
    "semicolon": (named("a;b=c.txt"), "a;b=c.txt"),
    "colon": (named("a:b.txt"), "a:b.txt"),
    "percent-encoded": (named("a%2Fb%00c.txt"), "a%2Fb%00c.txt"),
    "emoji": (named("👩\u200d🌾🍵.txt"), "👩\u200d🌾🍵.txt"),
    "right-to-left": (named("\u200fשלום.txt"), "\u200fשלום.txt"),
    "only the extended form": (b"; filename*=UTF-8''caf%C3%A9.txt", "café.txt"),
    "reserved by Windows": (named("CON.txt"), "CON.txt"),
    "255 characters": (named("b" * 251 + ".txt"), "b" * 251 + ".txt"),
    "300 bytes": (named("한" * 100 + ".txt"), "한" * 100 + ".txt"),
    "255 composed characters": (
        named(unicodedata.normalize("NFD", "글" * 251) + ".txt"),
        "글" * 251 + ".txt",
    ),
    "the extended form wins": (b"; filename=\"loses.exe\"; filename*=UTF-8''..%2Fwins.txt", "wins.txt"),
}

MALFORMED: dict[str, dict[str, Any]] = {
    "no boundary": posted(GOOD, "multipart/form-data"),
    "empty boundary": posted(GOOD, "multipart/form-data; boundary="),
    "another boundary": posted(GOOD, "multipart/form-data; boundary=OTHER"),
    "boundary of 300 characters": posted(GOOD, "multipart/form-data; boundary=" + "B" * 300),
    "boundary that is no ASCII": posted(GOOD, b"multipart/form-data; boundary=\xff\xfe"),
    "nothing": posted(b""),
    "cut in the boundary": posted(GOOD[:3]),
    "cut in a header": posted(GOOD[:30]),
    "cut in the document": posted(GOOD[:-18]),
    "cut in the last boundary": posted(GOOD[:-5]),
    "text before": posted(b"text" + GOOD),
    "header without a colon": posted(b"--BOUND\r\nContent Disposition\r\n\r\nx\r\n--BOUND--\r\n"),
    "header of 1 MB": posted(b"--BOUND\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\nx\r\n--BOUND--\r\n"),
    "thousands of headers": posted(b"--BOUND\r\n" + b"X: y\r\n" * 5000 + b"\r\nx\r\n--BOUND--\r\n"),
    "compressed": {"content": b"\x1f\x8b\x08\x00", "headers": {**HEADERS, "content-encoding": "gzip"}},
}

NO_DOCUMENTS: dict[str, dict[str, Any]] = {
    "another field": posted(form(named("a.txt"), field=b"documents")),
    "a field with NUL": posted(form(named("a.txt"), field=b"files\0")),
    "field in upper case": posted(form(named("a.txt"), field=b"Files")),
    "closing boundary alone": posted(b"--BOUND--\r\n"),
    "part without headers": posted(b"--BOUND\r\n\r\nx\r\n--BOUND--\r\n"),
    "part without disposition": posted(b"--BOUND\r\nX: y\r\n\r\nx\r\n--BOUND--\r\n"),
    "another kind of multipart": posted(GOOD, "multipart/mixed; boundary=BOUND"),
    "JSON": {"json": {"files": ["a.txt"]}},
    "bytes": {"content": b"x", "headers": {"content-type": "application/octet-stream"}},
    "no body": {},
}


@pytest.mark.usefixtures("untouched")
async def test_a_name_that_is_none_is_refused(alice: Person, victim: Victim) -> None:
    attacks = [
        Attack(what, "POST", victim.documents, 400, INVALID, posted(form(parameters)))
        for what, parameters in REFUSED_NAMES.items()
    ]
    assert await unrefused(alice.http, attacks) == []


@pytest.mark.parametrize("settings", [{"max_documents_per_request": 50}], indirect=True)
async def test_an_unusual_name_is_kept_and_never_used_as_a_path(
    alice: Person, victim: Victim, settings: Settings, logged: list[Any]
) -> None:
    content = form(*(parameters for parameters, _ in ACCEPTED_NAMES.values()))
    answer = await alice.http.post(victim.documents, **posted(content))
    assert answer.status_code == 200, answer.text
    documents = answer.json()["items"]
    assert [document["name"] for document in documents] == [name for _, name in ACCEPTED_NAMES.values()]
    for document in documents:
        download = await alice.http.get(f"{victim.documents}/{document['id']}/download")
        assert (download.status_code, download.content) == (200, b"x")
        assert (settings.objects.directory / f"user-{alice.id}/{victim.collection}/{document['id']}").is_dir()
    assert [line for line in logged if line["log_level"] == "error"] == []


@pytest.mark.usefixtures("untouched")
async def test_a_malformed_form_is_refused(alice: Person, victim: Victim) -> None:
    attacks = [
        Attack(what, "POST", victim.documents + route, 400, INVALID, request)
        for what, request in MALFORMED.items()
        for route in ("", "/upload")
    ]
    assert await unrefused(alice.http, attacks) == []


@pytest.mark.usefixtures("untouched")
async def test_a_request_without_documents_says_which_field_is_missing(alice: Person, victim: Victim) -> None:
    attacks = [
        Attack(what, "POST", victim.documents + route, 422, DETAIL, request)
        for what, request in NO_DOCUMENTS.items()
        for route in ("", "/upload")
    ]
    assert await unrefused(alice.http, attacks) == []
    answer = await alice.http.post(f"{victim.documents}/upload", **posted(GOOD))
    assert answer.json()["detail"][0]["loc"] == ["body", "file"]


def many(count: int, size: int = 1, field: str = "files") -> dict[str, Any]:
    return {"files": [(field, (f"{n}.txt", bytes([n % 256]) * size)) for n in range(count)]}


@pytest.mark.usefixtures("untouched")
async def test_too_many_and_too_large_documents_are_refused(alice: Person, victim: Victim, settings: Settings) -> None:
    most, largest = settings.max_documents_per_request, settings.max_document_size
    upload = f"{victim.documents}/upload"
    attacks = [
        Attack("one too many", "POST", victim.documents, 400, INVALID, many(most + 1)),
        Attack("far too many", "POST", victim.documents, 400, INVALID, many(500)),
        Attack("two where one is taken", "POST", upload, 400, INVALID, many(2, field="file")),
        Attack("one byte too large", "POST", victim.documents, 400, INVALID, many(1, largest + 1)),
        Attack("the second too large", "POST", victim.documents, 400, INVALID, many(2, largest + 1)),
        Attack("staged too large", "POST", upload, 400, INVALID, many(1, largest + 1, field="file")),
        Attack(
            "taken name", "POST", victim.documents, 409, "DOCUMENT_NAME_CONFLICT", posted(form(named("original.txt")))
        ),
        Attack(
            "staged taken name",
            "POST",
            upload,
            409,
            "DOCUMENT_NAME_CONFLICT",
            posted(form(named("original.txt"), field=b"file")),
        ),
    ]
    assert await unrefused(alice.http, attacks) == []
    answer = await alice.http.post(victim.documents, **many(1, largest + 1))
    assert answer.json()["details"] == {"max_document_size": largest}


@pytest.mark.parametrize("settings", [{"max_documents_per_request": 50}], indirect=True)
async def test_as_many_and_as_large_as_allowed_is_accepted(alice: Person, settings: Settings) -> None:
    collection = await alice.collection()
    path = f"/collections/{collection}/documents"
    answer = await alice.http.post(path, **many(50))
    assert (answer.status_code, len(answer.json()["items"])) == (200, 50)
    whole = await alice.http.post(path, files={"files": ("whole.txt", b"x" * settings.max_document_size)})
    assert whole.json()["items"][0]["size"] == settings.max_document_size


async def test_what_is_empty_or_lies_about_its_type_is_accepted_and_left_to_the_parse(alice: Person) -> None:
    collection = await alice.collection()
    for name, content in {"empty.txt": b"", "no.pdf": b"MZ\x90", "no.docx": b"%PDF-1.7", "no.zip": b""}.items():
        document = await alice.uploaded(collection, name, content)
        assert (document["status"], document["size"]) == ("PENDING", len(content))
        download = await alice.http.get(f"/collections/{collection}/documents/{document['id']}/download")
        assert (download.status_code, download.content) == (200, content)


async def test_a_name_typed_on_two_systems_is_one_document(alice: Person) -> None:
    collection = await alice.collection()
    composed, decomposed = (unicodedata.normalize(form, "한글 문서.txt") for form in ("NFC", "NFD"))
    assert composed != decomposed
    first = await alice.uploaded(collection, composed, "same")
    assert (await alice.uploaded(collection, decomposed, "same"))["id"] == first["id"]
    assert (await alice.upload(collection, (decomposed, "other"))).status_code == 409


async def test_of_two_documents_with_one_name_at_once_one_is_accepted(
    alice: Person, settings: Settings, engine: AsyncEngine, logged: list[Any]
) -> None:
    collection = await alice.collection()
    answers = await asyncio.gather(*(alice.upload(collection, ("same.txt", f"content {n}")) for n in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    lost = [answer for answer in answers if answer.status_code == 409]
    assert [wrong for answer in lost for wrong in misshapen(answer, 409, "DOCUMENT_NAME_CONFLICT")] == []
    assert len(objects(settings.objects.directory)) == 1
    async with engine.connect() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM document"))).scalar_one() == 1
    assert [line for line in logged if line["log_level"] == "error"] == []


def objects(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_nothing_is_stored_for_a_collection_that_is_not_there(
    alice: Person, mallory: Person, victim: Victim, untouched: None
) -> None:
    for person, collection in ((alice, "colunknown"), (mallory, victim.collection)):
        path = f"/collections/{collection}/documents"
        attacks = [
            Attack("upload", "POST", path, 404, "COLLECTION_NOT_FOUND", posted(GOOD)),
            Attack("stage", "POST", f"{path}/upload", 404, "COLLECTION_NOT_FOUND", posted(GOOD)),
            Attack(
                "confirm", "POST", f"{path}/confirm", 404, "COLLECTION_NOT_FOUND", {"json": {"document_ids": ["a"]}}
            ),
        ]
        assert await unrefused(person.http, attacks) == []


async def test_a_deleted_collection_takes_no_more_documents(alice: Person, settings: Settings) -> None:
    collection = await alice.collection()
    path = f"/collections/{collection}/documents"
    staged = (await alice.http.post(f"{path}/upload", files={"file": ("a.txt", b"staged")})).json()
    before = objects(settings.objects.directory)
    assert (await alice.http.delete(f"/collections/{collection}")).status_code == 200
    confirm = {"json": {"document_ids": [staged["document_id"]]}}
    attacks = [
        Attack("upload", "POST", path, 404, "COLLECTION_NOT_FOUND", posted(GOOD)),
        Attack("stage", "POST", f"{path}/upload", 404, "COLLECTION_NOT_FOUND", posted(GOOD)),
        Attack("confirm", "POST", f"{path}/confirm", 404, "COLLECTION_NOT_FOUND", confirm),
    ]
    assert await unrefused(alice.http, attacks) == []
    assert objects(settings.objects.directory) == before


async def test_each_id_that_cannot_be_confirmed_is_named_with_its_reason(
    alice: Person, mallory: Person, victim: Victim, engine: AsyncEngine
) -> None:
    upload = f"{victim.documents}/upload"
    staged, expired, twice = [
        (await alice.http.post(upload, files={"file": (name, name.encode())})).json()["document_id"]
        for name in ("staged.txt", "expired.txt", "twice.txt")
    ]
    elsewhere = await alice.collection()
    other = (
        await alice.http.post(f"/collections/{elsewhere}/documents/upload", files={"file": ("o.txt", b"o")})
    ).json()
    theirs = await mallory.collection()
    foreign = (
        await mallory.http.post(f"/collections/{theirs}/documents/upload", files={"file": ("f.txt", b"f")})
    ).json()
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE document SET status = 'EXPIRED' WHERE id = :id"), {"id": expired})
    wrong = {
        "docunknown": "DOCUMENT_NOT_FOUND",
        "": "DOCUMENT_NOT_FOUND",
        "../" * 20: "DOCUMENT_NOT_FOUND",
        other["document_id"]: "DOCUMENT_NOT_FOUND",
        foreign["document_id"]: "DOCUMENT_NOT_FOUND",
        victim.document: "DOCUMENT_NOT_UPLOADED",
        expired: "DOCUMENT_EXPIRED",
    }
    answer = await alice.http.post(
        f"{victim.documents}/confirm", json={"document_ids": [staged, twice, twice, *wrong, "docunknown"]}
    )
    body = answer.json()
    assert (body["confirmed_count"], body["failed_count"]) == (2, len(wrong))
    assert {failed["document_id"]: failed["error"] for failed in body["failed_documents"]} == wrong
    assert set(body["task_ids"]) == {staged, twice}


async def test_deleting_many_deletes_ones_own_and_tells_nothing_of_the_others(
    alice: Person, mallory: Person, victim: Victim
) -> None:
    theirs = await mallory.collection()
    foreign = await mallory.uploaded(theirs, "kept.txt", "kept")
    unknown = [f"doc{n:016x}" for n in range(9_997)]
    ids = [victim.document, victim.document, foreign["id"], *unknown]
    answer = await alice.http.request("DELETE", victim.documents, json=ids)
    assert (answer.status_code, answer.json()["deleted_ids"]) == (200, ids)
    assert (await alice.http.get(f"{victim.documents}/{victim.document}")).status_code == 404
    kept = await mallory.http.get(f"/collections/{theirs}/documents/{foreign['id']}")
    assert kept.json()["status"] == "PENDING"
