"""Settings of what holds for every request."""

from __future__ import annotations

from datetime import timedelta
from typing import Self
from urllib.parse import urlsplit

from limits import parse
from pydantic import Field, PositiveInt, field_validator, model_validator

from aperag_common.settings import Block

ANY_ORIGIN = "*"


class CorsSettings(Block):
    """Which pages of other origins may read answers: none, unless they are named."""

    origins: tuple[str, ...] = Field((), description='origins as a JSON list, as in ["https://console.example.com"]')
    credentials: bool = Field(default=False, description="let these pages use the cookie of whoever is logged in")

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            whole = parts.scheme in {"http", "https"} and parts.netloc and origin == f"{parts.scheme}://{parts.netloc}"
            if origin != ANY_ORIGIN and not whole:
                message = f"{origin!r} is no origin: write scheme and host only, as in https://console.example.com"
                raise ValueError(message)
        return origins

    @model_validator(mode="after")
    def _names_whom_it_trusts(self) -> Self:
        if self.credentials and ANY_ORIGIN in self.origins:
            message = "CORS for any origin with credentials lets every page act as its visitor: name the origins"
            raise ValueError(message)
        return self

    @property
    def trusted(self) -> frozenset[str]:
        """Origins whose pages may use a person's cookie."""
        return frozenset(origin.lower() for origin in self.origins if self.credentials)


class RequestSettings(Block):
    """Limits of a request beside those of its body's size; those of its pace are with ``HTTP``."""

    max_headers: PositiveInt = Field(100, description="most headers of a request")
    max_query: PositiveInt = Field(8 * 1024, description="longest query of an address, in bytes")
    hosts: tuple[str, ...] = Field(
        (),
        description="host names under which the gateway is reached beside APERAG_PUBLIC_URL, as a JSON list; addresses, and"
        " names that nobody can register, are always known",
    )


class RateSettings(Block):
    """How many requests one caller may send to one gateway: numbers that only a runaway program reaches."""

    enabled: bool = Field(default=True, description="limit the rate of requests")
    sign_in: str = Field("120/minute", description="logins, registrations and the like, from one address")
    anonymous: str = Field("1200/minute", description="other requests without a valid credential, from one address")
    read: str = Field("60000/minute", description="requests of one user that only read")
    search: str = Field("60000/minute", description="searches of one user")
    write: str = Field("30000/minute", description="other requests of one user")

    @field_validator("sign_in", "anonymous", "read", "search", "write")
    @classmethod
    def _is_rate(cls, rate: str) -> str:
        parse(rate)
        return rate


class IdempotencySettings(Block):
    """Answers kept for clients that repeat a request under its Idempotency-Key."""

    kept: timedelta = Field(timedelta(hours=24), description="an answer is repeated for so long")
    lock: timedelta = Field(
        timedelta(seconds=30), description="a first request whose gateway died is taken over after this"
    )
    max_answer: PositiveInt = Field(1024 * 1024, description="largest answer that is kept, in bytes")
