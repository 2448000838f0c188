"""Answers of sign-ins."""

from __future__ import annotations

from pydantic import BaseModel


class Authorization(BaseModel):
    """Where the browser is to go."""

    authorization_url: str
