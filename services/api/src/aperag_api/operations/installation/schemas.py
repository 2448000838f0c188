"""Settings of the installation as clients see them (contract 1.13)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from aperag_api.kernel.validation import RequestBody

Token = Annotated[str, Field(max_length=4096)]


class SettingsOut(BaseModel):
    """Which reader takes documents apart. Nothing uses these yet: they are kept for clients that set them.

    ``mineru_api_token`` is masked.
    """

    use_mineru: bool = False
    mineru_api_token: str | None = None
    use_doc_ray: bool = False
    use_markitdown: bool = True


class SettingsChange(RequestBody):
    """What is null or absent stays, and so does a token that is sent back masked; an empty one is forgotten."""

    model_config = ConfigDict(extra="forbid")

    use_mineru: bool | None = None
    mineru_api_token: Token | None = None
    use_doc_ray: bool | None = None
    use_markitdown: bool | None = None


class TokenTest(RequestBody):
    """``token`` is that of MinerU."""

    token: Token | None = None


class TokenTested(BaseModel):
    """How MinerU answered: its HTTP status and its body."""

    status_code: int
    data: Any
