"""Routes of the installation's settings (contract 1.13, 1.3)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from aperag_api.kernel.auth import Admin, Writer
from aperag_api.operations.installation.schemas import SettingsChange, SettingsOut, TokenTest, TokenTested
from aperag_api.operations.services import Services
from aperag_common import errors

router = APIRouter(tags=["settings"])

NO_TOKEN = {"code": -1, "msg": "No token of MinerU is given or stored: send one"}


@router.get("/settings")
async def get_settings(_: Admin, services: Services) -> SettingsOut:
    """For administrators. Nothing uses these settings yet; the token is masked."""
    return await services.installation.get()


@router.put("/settings", status_code=204)
async def update_settings(body: SettingsChange, _: Admin, services: Services) -> None:
    """What is null or absent stays. Nothing uses these settings yet: no reader but the built-in one is installed."""
    await services.installation.update(body)


@router.post("/settings/test_mineru_token", response_model=TokenTested, responses={404: {"description": "No token"}})
async def try_stored_token(body: TokenTest, _: Admin, services: Services) -> Any:
    """Ask MinerU whether it knows the token that is given, or else the stored one."""
    tested = await services.installation.test_token(body.token)
    return JSONResponse(NO_TOKEN, 404) if tested is None else tested


@router.post("/collections/test-mineru-token")
async def try_token(body: TokenTest, _: Writer, services: Services) -> TokenTested:
    """Ask MinerU whether it knows the token that is given."""
    if not body.token:
        raise errors.InvalidParameter("No token is given")
    return await services.installation.mineru.test(body.token)
