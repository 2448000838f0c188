"""Passwords: hashed off the loop, a few at a time, and with the same work whether or not there is one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import argon2
import pytest

from aperag_api.identity.accounts import passwords as module
from aperag_api.identity.accounts.passwords import AT_ONCE, Passwords, PasswordSettings
from aperag_common import errors

CHEAP = PasswordSettings(memory_kib=8, rounds=1, lanes=1)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(CHEAP)
    yield made
    made.close()


async def test_a_password_is_known_again_and_no_other(passwords: Passwords) -> None:
    encoded = await passwords.hash("correct horse")
    assert encoded.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert (await passwords.verify("correct horse", encoded)) == module.Verdict(right=True)
    for wrong in ("Correct horse", "correct horse ", "", "x" * 10_000):
        assert not (await passwords.verify(wrong, encoded)).right


async def test_two_hashes_of_one_password_differ(passwords: Passwords) -> None:
    assert await passwords.hash("correct horse") != await passwords.hash("correct horse")


async def test_one_password_typed_on_different_keyboards_is_one(passwords: Passwords) -> None:
    encoded = await passwords.hash("cafe\u0301 ﬁn")
    assert (await passwords.verify("café fin", encoded)).right


@pytest.mark.parametrize("encoded", [None, "", "no hash", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA", "$2b$12$abc"])
async def test_where_there_is_nothing_to_compare_with_nothing_is_right(
    passwords: Passwords, encoded: str | None
) -> None:
    for password in ("", "correct horse"):
        assert await passwords.verify(password, encoded) == module.Verdict(right=False)


async def test_nothing_to_compare_with_costs_the_whole_work(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    verify = argon2.PasswordHasher.verify

    def counted(self: Any, encoded: str, password: str) -> Any:
        seen.append(encoded)
        return verify(self, encoded, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    encoded = await passwords.hash("correct horse")
    for known in (encoded, None):
        await passwords.verify("wrong", known)
    costs = [argon2.extract_parameters(it) for it in seen]
    assert costs[0] == costs[1]


async def test_a_hash_of_another_cost_is_made_anew_only_for_the_right_password(passwords: Passwords) -> None:
    dearer = Passwords(PasswordSettings(memory_kib=16, rounds=2, lanes=1))
    encoded = await passwords.hash("correct horse")
    verdict = await dearer.verify("correct horse", encoded)
    assert verdict.renewed is not None
    assert (await dearer.verify("correct horse", verdict.renewed)) == module.Verdict(right=True)
    assert (await dearer.verify("wrong horse", encoded)).renewed is None
    dearer.close()


@pytest.mark.parametrize(("length", "fits"), [(0, False), (9, False), (10, True), (256, True), (257, False)])
def test_passwords_have_a_shortest_and_a_longest_length(passwords: Passwords, length: int, *, fits: bool) -> None:
    assert (passwords.problem(("가나다라마" * 60)[:length]) is None) is fits


@pytest.mark.parametrize(
    "guessed",
    [
        "password123!",
        "PＡssword2026",
        "1234567890",
        "9876543210",
        "qwertyuiop",
        "aaaaaaaaaaaa",
        "abababababab",
        "Admin!2026!!",
        "abcdefghijkl",
        "carol2026!!!",
        "my-CAROL-key",
    ],
)
def test_passwords_that_are_guessed_first_are_refused(passwords: Passwords, guessed: str) -> None:
    assert passwords.problem(guessed, "Carol") is not None


@pytest.mark.parametrize("good", ["correct horse", "비밀번호 열 글자 이상", "Tr0ub4dor&3x", "admin of many sheep"])
def test_passwords_that_nobody_guesses_first_are_taken(passwords: Passwords, good: str) -> None:
    assert passwords.problem(good, "carol") is None


async def test_no_more_than_a_few_are_hashed_at_once_and_never_on_the_loop(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, threads = 0, 0, set()
    lock, gate = threading.Lock(), threading.Barrier(AT_ONCE)

    def slow(_self: Any, _password: str) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads.add(threading.current_thread())
        gate.wait(30)
        with lock:
            running -= 1
        return ""

    monkeypatch.setattr(argon2.PasswordHasher, "hash", slow)
    await asyncio.gather(*(passwords.hash("correct horse") for _ in range(3 * AT_ONCE)))
    assert most == AT_ONCE
    assert threading.main_thread() not in threads


async def test_too_many_at_once_are_told_to_come_later(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    answers = await asyncio.gather(*(passwords.hash("correct horse") for _ in range(4)), return_exceptions=True)
    assert [isinstance(answer, errors.Busy) for answer in answers] == [False, False, True, True]
    assert await passwords.hash("correct horse")


async def test_the_usual_cost_is_what_current_advice_asks_for() -> None:
    made = Passwords(PasswordSettings())
    encoded = await made.hash("correct horse")
    assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (await made.verify("correct horse", encoded)).right
    made.close()
