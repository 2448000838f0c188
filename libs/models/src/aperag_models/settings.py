"""How providers are called."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, PositiveInt, SecretStr

from aperag_common.outbound.settings import OutboundSettings
from aperag_common.settings import Block, ServiceSettings


class ModelSettings(Block):
    """The same in every service: the slots of a provider are shared by all of them."""

    local: Literal["best", "fast"] = Field(
        "best",
        description="built-in embedding model of collections that choose none: `best` = multilingual-e5-small where its"
        " packages are installed, `fast` = use-multilingual-v3",
    )
    slots: PositiveInt = Field(8, description="calls under way at one provider at a time, over all processes")
    wait: timedelta = Field(
        timedelta(seconds=30), description="longest wait for a slot, or for a provider that asked us to wait"
    )
    tries: PositiveInt = Field(3, description="times that one call is sent until its failure counts")
    connect: timedelta = Field(timedelta(seconds=10), description="a connection has to be there within this")
    silence: timedelta = Field(timedelta(seconds=120), description="longest pause between two pieces of an answer")
    max_answer: PositiveInt = Field(64 * 1024 * 1024, description="largest answer of a provider, in bytes")
    batch: PositiveInt = Field(10, description="texts of one request for embeddings")

    @property
    def fast(self) -> bool:
        return self.local == "fast"


class OutwardSettings(ServiceSettings):
    """Of a service that asks hosts which users name, with what users entrust it for that."""

    outbound: OutboundSettings = Field(default_factory=OutboundSettings)
    provider_keys: SecretStr | None = Field(
        None,
        description="secret that providers' keys and webhooks' secrets are encrypted under; the gateway, agents, indexers"
        " and the webhooks service need the same one. Without it the gateway makes one of the installation's secret,"
        " agents and indexers use built-in models only, and no webhook is delivered",
    )
    provider_keys_previous: tuple[SecretStr, ...] = Field(
        (), description="earlier ones as a JSON list, newest first: what was encrypted under them is still read"
    )


class CallingSettings(OutwardSettings):
    """Of a service that calls models."""

    models: ModelSettings = Field(default_factory=ModelSettings)
