"""What a gateway remembers, and when it does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aperag_api.kernel import memory
from aperag_api.kernel.memory import Fresh, Memories, Memory
from aperag_common.events.accounts import KeyCreated, KeyRevoked
from aperag_common.events.facts import CollectionUnshared

SECONDS = 3.0
OWNER, OTHER = "alice", "mallory"


class Table:
    """Something that is looked up, and how often that was."""

    def __init__(self, *, kept: float = SECONDS) -> None:
        self.now = 100.0
        self.looks = 0
        self.value: str | None = "first"
        self.seconds: float | None = None
        self.memories = Memories(timedelta(seconds=kept), clock=lambda: self.now)
        self.memory: Memory[str] = Memory("table", self.memories)

    async def look(self) -> Fresh[str] | None:
        self.looks += 1
        return None if self.value is None else Fresh(self.value, OWNER, self.seconds)

    async def find(self) -> str | None:
        return await self.memory.find("key", self.look)


async def test_a_value_is_looked_up_once_in_its_time() -> None:
    table = Table()
    assert [await table.find(), await table.find(), table.looks] == ["first", "first", 1]
    table.value, table.now = "second", table.now + SECONDS
    assert [await table.find(), table.looks] == ["second", 2]


async def test_what_is_missing_is_not_remembered() -> None:
    table = Table()
    table.value = None
    assert await table.find() is None
    table.value = "made meanwhile"
    assert await table.find() == "made meanwhile"


async def test_a_value_that_ends_sooner_is_kept_no_longer_than_that() -> None:
    table = Table()
    table.seconds = 1.0
    await table.find()
    table.value, table.now = None, table.now + 1.0
    assert await table.find() is None


async def test_a_slow_look_makes_no_memory_longer() -> None:
    table = Table()
    table.seconds = 1.0

    async def slow() -> Fresh[str] | None:
        table.now += 5.0
        return await table.look()

    assert await table.memory.find("key", slow) == "first"
    table.value = None
    assert await table.find() is None


@pytest.mark.parametrize("type_", [KeyRevoked.type_name, CollectionUnshared.type_name])
async def test_an_event_of_its_owner_ends_a_memory_at_once(type_: str) -> None:
    table = Table()
    await table.find()
    table.value = "second"
    table.memories.changed(type_, OTHER)
    table.memories.changed(KeyCreated.type_name, OWNER)
    assert await table.find() == "first"
    table.memories.changed(type_, OWNER)
    assert await table.find() == "second"


async def test_what_changed_while_it_was_looked_up_is_not_remembered() -> None:
    table = Table()

    async def overtaken() -> Fresh[str] | None:
        found = await table.look()
        table.memories.changed(KeyRevoked.type_name, OWNER)
        table.value = "second"
        return found

    assert await table.memory.find("key", overtaken) == "first"
    assert await table.find() == "second"


async def test_after_missed_events_everything_is_looked_up_anew() -> None:
    table = Table()
    await table.find()
    table.value = "second"
    table.memories.forget()
    assert await table.find() == "second"


async def test_nothing_is_remembered_where_the_setting_says_so() -> None:
    table = Table(kept=0.0)
    await table.find()
    await table.find()
    assert table.looks == 2


async def test_the_number_of_memories_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 3)
    table = Table()
    for key in range(10):
        await table.memory.find(key, table.look)
        assert len(table.memories._known) <= 3
