"""A stack that is started twice, stopped and started again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from aperag_testing.client import Client
from aperag_testing.stack import QUICK, Stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)

ALREADY_RUNNING = 3


def test_a_second_start_says_that_a_stack_runs(stack: Stack) -> None:
    before = {process.pid for process in stack.processes()}
    refused = stack.up()
    assert refused.returncode == ALREADY_RUNNING
    assert "already runs" in refused.stderr
    assert "aperag down" in refused.stderr
    assert stack.aperag("status").returncode == 0
    assert stack.state()["pid"] in before


async def test_down_leaves_no_process_and_the_next_start_finds_everything_again(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", {**QUICK, **os.environ})  # noqa: TID251  the caller's own settings
    try:
        assert stack.up().returncode == 0
        async with Client(stack.url, stack.api_key) as client:
            collection = await client.collection()
            (document,) = await client.upload(collection, {"bridge.txt": "Eine Brücke trägt über den Fluss.".encode()})
        assert stack.processes()
        assert stack.aperag("down").returncode == 0
        assert stack.processes() == []
        assert stack.up().returncode == 0
        async with Client(stack.url, stack.api_key) as client:
            (hit,) = await client.search(collection, "Brücke", wait_for=[document["task_id"]])
            assert hit["metadata"]["document_id"] == document["id"]
    finally:
        assert stack.down() == []
