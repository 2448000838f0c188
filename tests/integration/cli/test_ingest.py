"""``aperag ingest`` against the real stack: the gateway takes the event in and carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.conftest import Aperag

pytestmark = pytest.mark.timeout(240)


def test_a_file_is_sent_changed_and_deleted_by_its_key(aperag: Aperag, collection: str, tmp_path: Path) -> None:
    file = tmp_path / "녹차.md"
    file.write_text("# 녹차")
    made = aperag.json("ingest", "send", str(file), "--collection", collection, "--wait")
    assert (made["status"], made["outcome"], made["subject"]) == ("COMPLETED", "created", "녹차.md")
    file.write_text("# 홍차")
    changed = aperag.json("ingest", "send", str(file), "-c", collection, "--wait")
    assert (changed["outcome"], changed["document_id"]) == ("replaced", made["document_id"])
    again = aperag.json("ingest", "send", str(file), "-c", collection, "--id", changed["id"], "--wait")
    assert again == changed
    assert aperag.json("ingest", "status", changed["id"]) == changed
    gone = aperag.json("ingest", "delete", "-c", collection, "--subject", "녹차.md", "--wait")
    assert (gone["outcome"], gone["document_id"]) == ("deleted", made["document_id"])


def test_what_is_refused_or_unknown_says_so(aperag: Aperag, collection: str, tmp_path: Path) -> None:
    assert aperag("ingest", "send", "-", "-c", collection).exit_code == Exit.USAGE
    assert aperag("ingest", "send", str(tmp_path / "none.md"), "-c", collection).exit_code == Exit.USAGE
    assert aperag("ingest", "status", "never").exit_code == Exit.NOT_FOUND
    large = tmp_path / "large.md"
    large.write_bytes(b"x" * (512 * 1024 + 1))
    refused = aperag("ingest", "send", str(large), "-c", collection)
    assert (refused.exit_code, "upload the document" in refused.stderr) == (Exit.FAILED, True), refused.output
