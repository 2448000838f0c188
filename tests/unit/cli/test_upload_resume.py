"""A second upload sends what is missing, and nothing else; what is refused or in the way never stops the rest."""

from __future__ import annotations

import hashlib
import io
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from rich.console import Console

from aperag_cli.client import errors
from aperag_cli.client.api import connect
from aperag_cli.client.http import Target
from aperag_cli.client.patience import Patience
from aperag_cli.commands.uploads import resume
from aperag_cli.commands.uploads.report import Report
from aperag_cli.commands.uploads.send import Sender
from aperag_cli.commands.uploads.view import Lines
from aperag_cli.commands.uploads.walk import Found, walk

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Target("http://gateway", "sk-1")
C = "col0000000000000001"


class Gateway:
    """Keeps documents as the contract says: by name, all of a request or none; ``refuses`` names bad ones."""

    def __init__(self, *, tags: bool = True) -> None:
        self.kept: dict[str, bytes] = {}
        self.posted: list[list[str]] = []
        self.refuses: set[str] = set()
        self.answers: list[httpx.Response] = []
        self._tags = tags

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return self._post(request.content)
        if request.url.path.endswith("/download"):
            name = request.url.path.split("/")[-2].removeprefix("doc-")
            tag = {"ETag": f'"{hashlib.sha256(self.kept[name]).hexdigest()}"'} if self._tags else {}
            return httpx.Response(206, headers=tag, content=self.kept[name][:1])
        return httpx.Response(200, json={"items": [self._document(name) for name in self.kept]})

    def _post(self, form: bytes) -> httpx.Response:
        parts = re.findall(rb'filename="([^"]+)"\r\n[^\r]*\r\n\r\n(.*?)\r\n--', form, re.DOTALL)
        received = {name.decode(): content for name, content in parts}
        self.posted.append(sorted(received))
        if self.answers:
            return self.answers.pop(0)
        if bad := self.refuses & received.keys():
            return httpx.Response(400, json={"message": f"{min(bad)} is not supported"})
        self.kept |= received
        return httpx.Response(200, json={"items": [self._document(name) for name in received]})

    def _document(self, name: str) -> dict[str, Any]:
        return {"id": f"doc-{name}", "name": name, "size": len(self.kept[name]), "status": "PENDING"}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / name).write_text(f"about {name}", encoding="utf-8")
    return tmp_path


async def upload(gateway: Gateway, folder: Path) -> Report:
    found = walk([folder], recursive=True)
    async with connect(TARGET, transport=httpx.MockTransport(gateway)) as api:
        known = await resume.compare(api, C, found.sources, concurrency=2)
        view = Lines(len(known.missing), tell=lambda _: None)
        sender = Sender(api, C, Patience(seconds=5.0, first=0.0), view)
        await sender.send(known.missing, concurrency=2)
    assert view.size == sum(source.size for source in found.sources if source.name in sender.accepted)
    return Report(C, found, known, sender)


async def test_a_second_run_sends_no_bytes(gateway: Gateway, folder: Path) -> None:
    assert (await upload(gateway, folder)).whole
    report = await upload(gateway, folder)
    assert report.whole
    assert gateway.posted == [["a.md", "b.md", "c.md"]]
    assert report.summary() == "0 accepted; 3 there already"


async def test_only_what_is_missing_is_sent(gateway: Gateway, folder: Path) -> None:
    gateway.kept["b.md"] = b"about b.md"
    await upload(gateway, folder)
    assert gateway.posted == [["a.md", "c.md"]]


@pytest.mark.parametrize("other", [b"about B.md", b"shorter"])
async def test_changed_content_is_refused_before_it_is_sent(gateway: Gateway, folder: Path, other: bytes) -> None:
    gateway.kept["b.md"] = other
    report = await upload(gateway, folder)
    assert not report.whole
    assert ["other content" in it.reason and "doc-b.md" in it.reason for it in report.refused] == [True]
    assert gateway.posted == [["a.md", "c.md"]]


async def test_a_gateway_that_tells_no_hashes_gets_the_bytes_to_compare(folder: Path) -> None:
    gateway = Gateway(tags=False)
    gateway.kept["b.md"] = b"about b.md"
    assert (await upload(gateway, folder)).whole
    assert gateway.posted == [["a.md", "b.md", "c.md"]]


async def test_an_empty_document_that_is_there_is_known_without_asking(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "empty.md").touch()
    gateway.kept["empty.md"] = b""
    assert (await upload(gateway, tmp_path)).whole
    assert gateway.posted == []


async def test_one_bad_document_does_not_take_its_request_with_it(gateway: Gateway, folder: Path) -> None:
    gateway.refuses = {"b.md"}
    report = await upload(gateway, folder)
    assert sorted(report.sender.accepted) == ["a.md", "c.md"]
    assert [(it.path.name, it.reason) for it in report.refused] == [("b.md", "b.md is not supported")]
    assert not report.whole


async def test_a_document_that_cannot_be_read_is_named_and_the_others_are_sent(gateway: Gateway, folder: Path) -> None:
    found = walk([folder], recursive=True)
    (folder / "b.md").unlink()
    async with connect(TARGET, transport=httpx.MockTransport(gateway)) as api:
        sender = Sender(api, C, Patience(), Lines(3, tell=lambda _: None))
        await sender.send(found.sources, concurrency=1)
    assert sorted(sender.accepted) == ["a.md", "c.md"]
    assert [it.reason for it in sender.refused] == ["No such file or directory"]


async def test_a_gateway_that_is_away_for_a_moment_is_asked_again(gateway: Gateway, folder: Path) -> None:
    gateway.answers = [httpx.Response(503, json={"message": "starting"})]
    assert (await upload(gateway, folder)).whole
    assert gateway.posted == [["a.md", "b.md", "c.md"]] * 2


async def test_a_key_that_is_revoked_ends_the_upload(gateway: Gateway, folder: Path) -> None:
    gateway.answers = [httpx.Response(401, json={"detail": "Unauthorized"})]
    with pytest.raises(errors.NotAuthorised):
        await upload(gateway, folder)
    assert len(gateway.posted) == 1


async def test_nothing_to_send_is_a_success(gateway: Gateway, tmp_path: Path) -> None:
    report = await upload(gateway, tmp_path)
    assert (report.whole, report.found, report.summary()) == (True, Found(), "0 accepted")


async def test_a_report_names_each_document_with_its_path(gateway: Gateway, folder: Path) -> None:
    gateway.refuses = {"b.md"}
    report = await upload(gateway, folder)
    told = report.as_json()
    assert {it["path"] for it in told["accepted"]} == {str(folder / "a.md"), str(folder / "c.md")}
    assert told["refused"] == [{"path": str(folder / "b.md"), "reason": "b.md is not supported"}]
    assert (told["unsent"], told["searchable"]) == (0, None)
    shown = io.StringIO()
    Console(file=shown, width=300).print(report.as_text())
    assert "refused" in shown.getvalue()
    assert "2 accepted; 1 refused" in shown.getvalue()


def test_lines_are_few_however_many_documents_there_are(folder: Path) -> None:
    told: list[str] = []
    source = walk([folder], recursive=True).sources[:1]
    lines = Lines(1000, tell=told.append)
    for _ in range(1000):
        lines.sent(10)
        lines.passed(source)
    assert len(told) == 10
    assert told[-1] == "1000 of 1000 documents, 10.0 kB"
