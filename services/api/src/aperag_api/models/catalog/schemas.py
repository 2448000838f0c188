"""Models as clients see them (contract 1.10)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from aperag_api.kernel.validation import RequestBody
from aperag_api.models.providers.schemas import ProviderOut
from aperag_models.refs import Api, Scenario

ModelName = Annotated[str, Field(min_length=1, max_length=256)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
Tag = Annotated[str, Field(min_length=1, max_length=64)]
Tags = Annotated[list[Tag], Field(max_length=50)]


class ModelChange(RequestBody):
    """What is absent stays."""

    custom_llm_provider: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    context_window: Tokens | None = None
    max_input_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    tags: Tags | None = None


class ModelCreate(ModelChange):
    """``custom_llm_provider`` is the provider's name where it is absent."""

    api: Api
    model: ModelName


class ModelOut(BaseModel):
    """``dimensions``: how long its embeddings are, once somebody has asked for one."""

    provider_name: str
    api: Api
    model: str
    custom_llm_provider: str
    context_window: int | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    dimensions: int | None
    tags: list[str]
    created: datetime
    updated: datetime


class ModelList(BaseModel):
    items: list[ModelOut]
    pageResult: None = None  # noqa: N815  the contract's name


class LlmConfiguration(BaseModel):
    """Providers that can be used come first."""

    providers: list[ProviderOut]
    models: list[ModelOut]


class TagFilter(RequestBody):
    """Models with all (AND) or any (OR) of the tags; no tags, no models."""

    operation: Literal["AND", "OR"]
    tags: Tags


class AvailableQuery(RequestBody):
    """A model that fits one of the filters is listed. None given: those that are tagged ``recommend``; empty: all."""

    tag_filters: Annotated[list[TagFilter], Field(max_length=50)] | None = None


class AvailableModel(BaseModel):
    model: str
    model_service_provider: str
    custom_llm_provider: str
    context_window: int | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    tags: list[str]


class AvailableProvider(BaseModel):
    """One that can be called: it has a key, or needs none."""

    name: str
    label: str
    completion_dialect: str
    embedding_dialect: str
    rerank_dialect: str
    allow_custom_base_url: bool
    base_url: str
    completion: list[AvailableModel] = []
    embedding: list[AvailableModel] = []
    rerank: list[AvailableModel] = []


class AvailableModels(BaseModel):
    items: list[AvailableProvider]


class DefaultModelOut(BaseModel):
    """Nulls where the installation has no default."""

    scenario: Scenario
    provider_name: str | None = None
    model: str | None = None
    custom_llm_provider: str | None = None


class DefaultModels(BaseModel):
    items: list[DefaultModelOut]


class DefaultModelIn(RequestBody):
    """Without provider and model there is no default any more."""

    scenario: Scenario
    provider_name: Annotated[str, Field(max_length=128)] | None = None
    model: Annotated[str, Field(max_length=256)] | None = None
    custom_llm_provider: Annotated[str, Field(max_length=128)] | None = None


class DefaultModelsChange(RequestBody):
    """A scenario that is absent stays as it is."""

    defaults: Annotated[list[DefaultModelIn], Field(max_length=20)]
