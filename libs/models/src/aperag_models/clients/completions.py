"""One short text of a model, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_models import failures
from aperag_models.clients.asking import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_models.clients.asking import Endpoint


async def complete(endpoint: Endpoint, messages: Sequence[dict[str, str]], *, max_tokens: int) -> str:
    """``messages`` as ``{"role", "content"}``; raises as ``ask``."""
    body = {"model": endpoint.model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0}
    answer = await ask(endpoint, f"{endpoint.base_url.rstrip('/')}/chat/completions", body)
    try:
        return str(answer["choices"][0]["message"]["content"] or "")
    except (KeyError, IndexError, TypeError) as err:
        raise failures.not_understood(endpoint.ref, "holds no message") from err
