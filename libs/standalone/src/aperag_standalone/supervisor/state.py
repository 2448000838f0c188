"""What the supervisor tells the world: one file, replaced at each change."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from pathlib import Path


class UnitStatus(StrEnum):
    """Of one process of the stack."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


class StackStatus(StrEnum):
    """Of the stack as a whole; ``failed`` is the first start's."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class UnitState(BaseModel):
    """One process; ``since`` is when it came into this status."""

    model_config = ConfigDict(frozen=True)

    name: str
    status: UnitStatus = UnitStatus.WAITING
    pid: int | None = None
    port: int | None = None
    restarts: int = 0
    since: datetime | None = None


class StackState(BaseModel):
    """``pid`` is the supervisor's; ``error`` says why the first start failed."""

    model_config = ConfigDict(frozen=True)

    pid: int
    status: StackStatus
    started: datetime
    ready_seconds: float | None = None
    first_start: bool = False
    api_url: str
    mcp_url: str = ""
    console_url: str = ""
    nats_url: str
    postgres_port: int
    error: str | None = None
    units: tuple[UnitState, ...] = ()


def read(path: Path) -> StackState | None:
    """The last state written; none where no stack ever ran."""
    try:
        return StackState.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write(path: Path, state: StackState) -> None:
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(state.model_dump_json(indent=2), encoding="utf-8")
    fresh.replace(path)
