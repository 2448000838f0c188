"""One request with JSON, one answer with JSON; what fails is translated here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from aperag_common import errors
from aperag_models import failures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_models.refs import ModelRef


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model where it is called; ``http`` counts against the provider's slots and belongs to the catalog."""

    ref: ModelRef
    base_url: str
    api_key: str = field(repr=False)
    http: httpx.AsyncClient
    max_output_tokens: int | None = None

    @property
    def provider(self) -> str:
        return self.ref.provider

    @property
    def model(self) -> str:
        return self.ref.model


async def ask(endpoint: Endpoint, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ``Retryable`` or ``Terminal`` with a reason for a person."""
    try:
        response = await endpoint.http.post(
            url, json=dict(body), headers={"authorization": f"Bearer {endpoint.api_key}"}
        )
    except httpx.InvalidURL as err:
        raise failures.RequestRefused(f"The base_url of the provider {endpoint.provider} is no address.") from err
    except errors.ApeRAGError:
        raise
    except (httpx.HTTPError, OSError) as err:
        raise failures.unreachable(endpoint.ref, err) from err
    if not response.is_success:
        raise failures.of_answer(response, endpoint.ref, endpoint.api_key)
    try:
        answer = response.json()
    except ValueError as err:
        raise failures.not_understood(endpoint.ref, "is no JSON") from err
    if not isinstance(answer, dict):
        raise failures.not_understood(endpoint.ref, "is no JSON object")
    return answer
