"""Collections as clients see them (contract 1.3)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aperag_api.kernel.model_spec import ModelSpec
from aperag_api.kernel.validation import BodyPart, RequestBody

Title = Annotated[str, Field(min_length=1, max_length=256)]
Description = Annotated[str, Field(max_length=100_000)]
Detail = Annotated[str | None, Field(max_length=2048)]
Credential = Annotated[str | None, Field(max_length=4096, repr=False, json_schema_extra={"format": "password"})]


class KnowledgeGraphConfig(BodyPart):
    entity_types: list[str] = Field(
        ["organization", "person", "geo", "event", "product", "technology", "date", "category"]
    )


class IndexPrompts(BaseModel):
    graph: str | None = None
    summary: str | None = None
    vision: str | None = None


class SourceConfig(BodyPart):
    """Where documents come from. Nothing reads it yet: no source but ``system`` has a connector.

    A credential is encrypted where it is kept and masked in every answer; sent back masked, or not at all, it stays.
    """

    path: Detail = None
    host: Detail = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    username: Detail = None
    password: Credential = None
    region: Detail = None
    bucket: Detail = None
    dir: Detail = None
    access_key_id: Credential = None
    secret_access_key: Credential = None
    email_source: Detail = None
    pop_server: Detail = None
    email_address: Detail = None
    email_password: Credential = None
    app_id: Detail = None
    app_secret: Credential = None
    space_id: Detail = None


class CollectionConfig(SourceConfig):
    """What is indexed, and how."""

    model_config = ConfigDict(extra="ignore")

    source: str = "system"
    enable_vector: bool = True
    enable_fulltext: bool = True
    enable_knowledge_graph: bool = True
    enable_summary: bool = False
    enable_vision: bool = False
    knowledge_graph_config: KnowledgeGraphConfig = KnowledgeGraphConfig()
    index_prompts: IndexPrompts | None = None
    language: Literal["zh-CN", "en-US", "ja-JP", "ko-KR"] = "zh-CN"
    embedding: ModelSpec | None = None
    completion: ModelSpec | None = None


class SharedConfig(BaseModel):
    """What everybody may know of a published collection's config."""

    enable_vector: bool = True
    enable_fulltext: bool = True
    enable_knowledge_graph: bool = True
    enable_summary: bool = False
    enable_vision: bool = False


class CollectionCreate(RequestBody):
    NEVER_NULL = frozenset({"config"})

    title: Title
    description: Description = ""
    type: str = "document"
    config: CollectionConfig = CollectionConfig()
    source: Any = None


class CollectionUpdate(RequestBody):
    NEVER_NULL = frozenset({"config"})

    title: Title
    description: Description = ""
    config: CollectionConfig = CollectionConfig()
    source: Any = None


class EmbeddingSwitch(BaseModel):
    """A change of embedding model that is under way: documents ``done`` of all that searches find, or will.

    Until the ``wanted`` model takes over, searches use the present one. Documents that ``failed`` keep it from that.
    """

    wanted: str
    done: int
    total: int
    failed: int
    reason: str | None = None


class CollectionOut(BaseModel):
    """A subscriber sees of ``config`` which indexes there are; the rest stands at its defaults.

    ``embedding_model`` is what searches use now, whatever ``config`` asks for; shown to the owner.
    """

    id: str
    title: str
    type: str
    description: str
    config: CollectionConfig
    source: str | None = None
    status: str
    created: datetime
    updated: datetime
    is_published: bool = False
    published_at: datetime | None = None
    embedding_model: str | None = None
    embedding_switch: EmbeddingSwitch | None = None


class CollectionView(BaseModel):
    """``subscription_id`` tells the caller's own collections from those they have subscribed to."""

    id: str
    title: str
    description: str
    type: str
    status: str
    created: datetime
    updated: datetime
    is_published: bool = False
    published_at: datetime | None = None
    owner_user_id: str
    owner_username: str
    subscription_id: str | None = None
    subscribed_at: datetime | None = None
