"""Route of summaries (contract 1.3); the text is the collection's description."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Writer
from aperag_api.knowledge.services import Services
from aperag_api.knowledge.summaries.schemas import SummaryRequested

router = APIRouter(tags=["collections"])


@router.post("/collections/{collection_id}/summary/generate")
async def generate_summary(collection_id: str, caller: Writer, services: Services) -> SummaryRequested:
    return await services.summaries.generate(caller.user_id, collection_id)
