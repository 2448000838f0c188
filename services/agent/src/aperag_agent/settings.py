"""Settings of the agent service: how many turns at once, and how far one may go."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field, PositiveInt

from aperag_common.settings import Block, WorkSettings
from aperag_models.settings import CallingSettings


class LimitSettings(Block):
    """Where a turn ends that would not end by itself."""

    steps: PositiveInt = Field(10, description="requests to the model in one turn")
    tokens: PositiveInt = Field(200_000, description="tokens of one turn, in and out")
    time: timedelta = Field(timedelta(seconds=300), description="a turn that takes longer ends with what there is")
    answer: PositiveInt = Field(200_000, description="longest answer, in characters")
    wait: timedelta = Field(timedelta(minutes=10), description="a question that waited longer is not answered any more")
    history: int = Field(4, ge=0, description="earlier turns of the chat that the model sees")
    passages: PositiveInt = Field(48_000, description="most characters of passages that a flow's model is given")


class TurnWork(WorkSettings):
    """A turn whose agent died is taken over soon: somebody waits for it."""

    lease: timedelta = Field(timedelta(seconds=10), description="how long a claim holds without a renewal")
    beat: timedelta = Field(timedelta(seconds=3), description="how often a claim is renewed")


class Settings(CallingSettings):
    work: TurnWork = Field(default_factory=TurnWork)
    turns_at_once: PositiveInt = Field(32, description="turns that one agent process runs at a time")
    limits: LimitSettings = Field(default_factory=LimitSettings)
    api_url: str = Field("http://127.0.0.1:8000", description="address of the gateway, where flows search")
    mcp_url: str = Field("http://127.0.0.1:8001/mcp/", description="address of the MCP service, whose tools agents use")
