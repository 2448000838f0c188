"""The audit log as clients see it (contract 1.13)."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, computed_field

Json = Annotated[
    str | None,
    BeforeValidator(lambda value: json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value),
    Field(description="a JSON object as a string, which clients parse themselves"),
]


class AuditSort(StrEnum):
    """Columns that the log can be sorted by."""

    CREATED = "created"
    START_TIME = "start_time"
    END_TIME = "end_time"
    STATUS_CODE = "status_code"
    USERNAME = "username"
    API_NAME = "api_name"
    HTTP_METHOD = "http_method"
    PATH = "path"
    RESOURCE_TYPE = "resource_type"


class AuditLogOut(BaseModel):
    """Times are Unix milliseconds; ``api_name`` is as in ``CreateCollection``. Without ``status_code`` the call is under way, or its end is not known."""

    id: str
    user_id: str | None
    username: str | None
    resource_type: str | None
    resource_id: str | None
    api_name: str
    http_method: str
    path: str
    status_code: int | None
    start_time: int
    end_time: int | None
    request_data: Json
    response_data: Json
    error_message: str | None
    ip_address: str | None
    user_agent: str | None
    request_id: str
    created: datetime

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way, which mypy cannot see through
    @property
    def duration_ms(self) -> int | None:
        return None if self.end_time is None else self.end_time - self.start_time
