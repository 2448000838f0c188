"""Routes of prompts (contract 1.13)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from aperag_api.kernel.auth import Admin, Reader, Writer
from aperag_api.kernel.validation import Unfilled
from aperag_api.models.prompts.builtin import PromptType
from aperag_api.models.prompts.schemas import (
    Preview,
    Previewed,
    PromptRemoved,
    PromptsChange,
    PromptsReset,
    PromptsResetDone,
    PromptsUpdated,
    SystemPrompt,
    UserPrompt,
    Validated,
    Validation,
)
from aperag_api.models.services import Services

router = APIRouter(prefix="/prompts", tags=["prompts"])


@router.get("/user")
async def get_user_prompts(caller: Reader, services: Services) -> dict[PromptType, UserPrompt]:
    """The prompts that hold for the caller, and where each comes from."""
    return await services.prompts.of_user(caller.user_id)


@router.put("/user")
async def update_user_prompts(body: PromptsChange, caller: Writer, services: Services) -> PromptsUpdated:
    return await services.prompts.update(caller.user_id, caller.user_id, body.prompts)


@router.post("/user/reset")
async def reset_user_prompts(body: PromptsReset, caller: Writer, services: Services) -> PromptsResetDone:
    return await services.prompts.reset(caller.user_id, body.types)


@router.delete("/user/{type}")
async def delete_user_prompt(type: str, caller: Writer, services: Services) -> PromptRemoved:  # noqa: A002
    return await services.prompts.remove(caller.user_id, type)


@router.get("/system")
async def get_system_prompts(
    _: Reader, services: Services, type_: Annotated[PromptType | None, Unfilled, Query(alias="type")] = None
) -> SystemPrompt | dict[PromptType, SystemPrompt]:
    """What holds for everybody who has written none of their own."""
    prompts = await services.prompts.of_system()
    return prompts if type_ is None else prompts[type_]


@router.put("/system")
async def update_system_prompts(body: PromptsChange, caller: Admin, services: Services) -> PromptsUpdated:
    return await services.prompts.update(caller.user_id, None, body.prompts)


@router.delete("/system/{type}")
async def delete_system_prompt(type: str, _: Admin, services: Services) -> PromptRemoved:  # noqa: A002
    return await services.prompts.remove(None, type)


@router.post("/preview")
async def preview_prompt(body: Preview, caller: Reader, services: Services) -> Previewed:
    """Rendered in a sandbox, with limits of computing time, memory and output."""
    return await services.prompts.preview(caller.user_id, body)


@router.post("/validate")
async def validate_prompt(body: Validation, caller: Reader, services: Services) -> Validated:
    return await services.prompts.validate(caller.user_id, body)
