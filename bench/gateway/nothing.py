"""A route that does nothing, so that what it costs is what every request costs."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from aperag_api.kernel.auth import Reader

PATH = "/api/v1/nothing"


class Nothing(BaseModel):
    """A small answer."""

    status: str = "nothing was done"


router = APIRouter(tags=["bench"])


@router.get("/nothing")
async def nothing(_: Reader) -> Nothing:
    return Nothing()
