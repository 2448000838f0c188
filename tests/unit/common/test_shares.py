"""Places go round between owners, whoever asks for how many."""

from __future__ import annotations

import asyncio

import pytest

from aperag_common.shares import Shares


async def asking(shares: Shares[str], owner: str, *, as_guest: bool = True) -> asyncio.Task[str]:
    task = asyncio.create_task(shares.take(owner, as_guest=as_guest))
    await asyncio.sleep(0)
    return task


async def test_one_owner_alone_gets_all_places() -> None:
    shares = Shares(["a", "b"], guests="guests")
    assert {await shares.take("alice"), await shares.take("alice")} == {"a", "b"}
    assert not (await asking(shares, "alice")).done(), "the guests' place is for others"


async def test_the_owner_with_the_fewest_places_is_next_then_the_one_served_longest_ago() -> None:
    shares = Shares(["a", "b"])
    await shares.take("mallory")
    await shares.take("mallory")
    greedy = await asking(shares, "mallory")
    alice, bob = await asking(shares, "alice"), await asking(shares, "bob")
    shares.give_back("mallory", "a")
    assert (await alice, greedy.done(), bob.done()) == ("a", False, False)
    again = await asking(shares, "alice")
    shares.give_back("alice", "a")
    assert await bob == "a"
    shares.give_back("bob", "a")
    assert await again == "a"
    greedy.cancel()


async def test_the_guests_place_takes_one_owner_without_any_other() -> None:
    shares = Shares(["a"], guests="guests")
    await shares.take("mallory")
    assert await shares.take("alice") == "guests"
    patient, bob = await asking(shares, "carol", as_guest=False), await asking(shares, "bob")
    shares.give_back("alice", "guests")
    assert (await bob, patient.done()) == ("guests", False)
    shares.give_back("mallory", "a")
    assert await patient == "a"


async def test_a_place_given_to_one_who_has_left_goes_to_the_next() -> None:
    shares = Shares(["a"])
    await shares.take("mallory")
    gone, stays = await asking(shares, "alice"), await asking(shares, "bob")
    shares.give_back("mallory", "a")
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await stays == "a"


async def test_one_who_leaves_while_waiting_is_forgotten() -> None:
    shares = Shares(["a"])
    await shares.take("mallory")
    gone = await asking(shares, "alice")
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    async with asyncio.timeout(5):
        shares.give_back("mallory", "a")
        async with shares.taken("bob") as place:
            assert place == "a"
