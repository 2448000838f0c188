"""The job queues that ours is measured beside: which are asked for, and their lanes with their workers."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bench.celery import app as celery_app
from bench.dispatch.celery_lane import celery_courses
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable
    from pathlib import Path

    from bench.dispatch.lane import Course

ALL = "all"


class Rival(StrEnum):
    """Those on PostgreSQL are named as their packages are."""

    CELERY = "celery"
    PGQUEUER = "pgqueuer"
    PROCRASTINATE = "procrastinate"


def named(words: Iterable[str]) -> list[Rival]:
    """Each word is a name, several names with commas between them, or ``all``; ``ValueError`` for any other."""
    names = {name.strip() for word in words for name in word.split(",")}
    wanted = set(Rival) if ALL in names else {Rival(name) for name in names}
    return [rival for rival in Rival if rival in wanted]


def require(rivals: Iterable[Rival]) -> None:
    """They are no dependencies of ours."""
    for rival in rivals:
        if rival is Rival.CELERY:
            celery_app.require()
        elif find_spec(rival) is None:
            message = f"{rival} is not installed: it is no dependency of ApeRAG"
            raise BenchError(message, hint=f"run ./justw bench dispatch --vs {rival}, which installs it")


@asynccontextmanager
async def rival_courses(rivals: Collection[Rival], folder: Path, processes: int) -> AsyncIterator[list[Course]]:
    """Their servers and workers run until the end."""
    async with AsyncExitStack() as stack:
        courses: list[Course] = []
        if Rival.CELERY in rivals:
            courses += stack.enter_context(celery_courses(folder, processes))
        if Rival.PGQUEUER in rivals:
            from bench.dispatch.pgqueuer_lane import pgqueuer_course  # noqa: PLC0415  # bench-only dependency

            courses.append(await stack.enter_async_context(pgqueuer_course(folder, processes)))
        if Rival.PROCRASTINATE in rivals:
            from bench.dispatch.procrastinate_lane import (  # noqa: PLC0415  # bench-only dependency
                procrastinate_course,
            )

            courses.append(await stack.enter_async_context(procrastinate_course(folder, processes)))
        yield courses
