"""What other services send: two types of CloudEvents, and the data of one that brings a document."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

UPSERT = "aperag.document.upsert"
DELETE = "aperag.document.delete"
TYPES = (UPSERT, DELETE)

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


class UpsertData(BaseModel):
    """A document of the sender's: exactly one of ``content``, ``content_base64`` and ``reference`` brings its bytes.

    ``name`` is the last part of the event's subject where it is left out. ``index_types`` are all that the collection
    has where they are left out. ``metadata`` is kept with the document and shown with it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str | None, Field(description="what the document is called, with its suffix")] = None
    content: Annotated[str | None, Field(description="the text itself")] = None
    content_base64: Annotated[str | None, Field(description="the bytes, in base64")] = None
    reference: Annotated[str | None, Field(description="an https:// address that the bytes are fetched from")] = None
    media_type: Annotated[str | None, Field(max_length=255, description="decides the suffix of a name without one")] = (
        None
    )
    metadata: dict[str, Any] = Field(default_factory=dict)
    index_types: Annotated[list[str] | None, Field(max_length=16, description="vector, fulltext")] = None

    @model_validator(mode="after")
    def _one_source_of_bytes(self) -> UpsertData:
        brought = [it for it in (self.content, self.content_base64, self.reference) if it is not None]
        if len(brought) != 1:
            raise ValueError("data needs exactly one of content, content_base64 and reference")
        return self
