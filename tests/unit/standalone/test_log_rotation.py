"""Logs are bounded, whole lines stay whole, and following one goes on across a rotation."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from aperag_standalone.supervisor.rotation import RotatingLog

if TYPE_CHECKING:
    from pathlib import Path


def test_no_line_is_lost_or_cut_and_old_generations_go(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "api.log", max_bytes=100, kept=2)
    lines = [f"line {number:04}\n" for number in range(60)]
    for line in lines:
        log.write(line.encode())
    log.close()
    kept = [tmp_path / name for name in ("api.log.2", "api.log.1", "api.log")]
    text = "".join(path.read_text(encoding="utf-8") for path in kept)
    assert "".join(lines).endswith(text)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert all(path.stat().st_size < 120 for path in kept)


def test_a_half_line_waits_for_its_end_before_the_rotation(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "api.log", max_bytes=10)
    log.write(b"a long line without")
    log.write(b" an end\nnext\n")
    log.write(b"fresh\n")
    log.close()
    assert (tmp_path / "api.log.1").read_bytes() == b"a long line without an end\nnext\n"
    assert (tmp_path / "api.log").read_bytes() == b"fresh\n"


async def test_what_a_process_wrote_last_is_kept(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "api.log")
    read_end, write_end = os.pipe()
    copying = asyncio.create_task(log.copy(read_end))
    os.write(write_end, b"last words\n")
    os.close(write_end)
    await asyncio.wait_for(copying, 5)
    assert log.tail() == "last words"
    log.close()
