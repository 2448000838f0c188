"""Whether a collection is published (contract 1.3)."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class SharingOut(BaseModel):
    is_published: bool
    published_at: datetime | None = None
