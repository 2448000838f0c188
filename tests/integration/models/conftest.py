"""The catalog of models on the real database, and a provider that the tests script."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import text

from aperag_common.auth.vault import Vault
from aperag_common.outbound.settings import OutboundSettings
from aperag_models import keys
from aperag_models.catalog import Models
from aperag_models.settings import ModelSettings
from aperag_testing.provider import KEY, Provider, providing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

VAULT = Vault.of(SecretStr("keys of the tests"))


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    async with providing() as provider:
        yield provider


@pytest.fixture
def add_provider(engine: AsyncEngine) -> Callable[..., Awaitable[None]]:
    """A public provider with one model of each kind; ``url`` is its base_url."""

    async def add(url: str, name: str = "stub", *, key: str | None = KEY, dialect: str = "jina_ai") -> None:
        token = None if key is None else VAULT.encrypt(key, context=keys.context(name))
        async with engine.begin() as conn:
            await conn.execute(
                text(
                    """
                    INSERT INTO llm_provider (name, user_id, label, completion_dialect, embedding_dialect,
                        rerank_dialect, allow_custom_base_url, base_url, api_key)
                    VALUES (:name, 'public', :name, 'openai', 'openai', :dialect, false, :url, :token)
                    """
                ),
                {"name": name, "dialect": dialect, "url": url, "token": token},
            )
            for api in ("completion", "embedding", "rerank"):
                await conn.execute(
                    text(
                        """
                        INSERT INTO llm_model (provider_name, api, model, custom_llm_provider)
                        VALUES (:name, :api, 'a/model', :name)
                        """
                    ),
                    {"name": name, "api": api},
                )

    return add


@pytest_asyncio.fixture
async def make_models(engine: AsyncEngine) -> AsyncIterator[Callable[..., Models]]:
    """Catalogs as of several processes."""
    async with AsyncExitStack() as stack:

        def make(*, allow: tuple[str, ...] = ("127.0.0.1",), **changes: Any) -> Models:
            settings = ModelSettings(**{"wait": timedelta(seconds=20), **changes})
            models = Models(engine, VAULT, OutboundSettings(allow=allow), settings)
            stack.push_async_callback(models.close)
            return models

        yield make


@pytest.fixture
def models(make_models: Callable[..., Models]) -> Models:
    return make_models()
