"""Routes of webhooks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from aperag_api.kernel.auth import Manager, Reader
from aperag_api.kernel.paging import Page, Paged, paged
from aperag_api.operations.services import Services
from aperag_api.operations.webhooks.schemas import (
    DeliveryDetails,
    DeliveryOut,
    Queued,
    ReplayAnswer,
    ReplayRequest,
    WebhookChange,
    WebhookList,
    WebhookOut,
    WebhookWithSecret,
)
from aperag_common.db.models.webhook import DeliveryStatus

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.post("", status_code=201)
async def create_webhook(body: WebhookChange, caller: Manager, services: Services) -> WebhookWithSecret:
    """Events that happen from now on are sent there. The answer shows the secret; nothing ever shows it again."""
    return await services.webhooks.create(caller.user_id, body)


@router.get("")
async def list_webhooks(caller: Reader, services: Services) -> WebhookList:
    return await services.webhooks.list(caller.user_id)


@router.get("/{webhook_id}")
async def get_webhook(webhook_id: str, caller: Reader, services: Services) -> WebhookOut:
    return await services.webhooks.get(caller.user_id, webhook_id)


@router.put("/{webhook_id}")
async def update_webhook(webhook_id: str, body: WebhookChange, caller: Manager, services: Services) -> WebhookOut:
    """What the body leaves out becomes what it is by default."""
    return await services.webhooks.update(caller.user_id, webhook_id, body)


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(webhook_id: str, caller: Manager, services: Services) -> None:
    """Its deliveries are deleted too; what is being sent at this moment may still arrive."""
    await services.webhooks.delete(caller.user_id, webhook_id)


@router.post("/{webhook_id}/rotate")
async def rotate_webhook_secret(webhook_id: str, caller: Manager, services: Services) -> WebhookWithSecret:
    """A new secret, shown once. For a day deliveries are signed with both."""
    return await services.webhooks.rotate(caller.user_id, webhook_id)


@router.post("/{webhook_id}/enable")
async def enable_webhook(webhook_id: str, caller: Manager, services: Services) -> WebhookOut:
    """Events from now on are sent again; a replay brings what happened meanwhile."""
    return await services.webhooks.enable(caller.user_id, webhook_id)


@router.post("/{webhook_id}/disable")
async def disable_webhook(webhook_id: str, caller: Manager, services: Services) -> WebhookOut:
    """Nothing is sent until it is enabled again; deliveries that are still pending fail."""
    return await services.webhooks.disable(caller.user_id, webhook_id)


@router.post("/{webhook_id}/test", status_code=202)
async def test_webhook(webhook_id: str, caller: Manager, services: Services) -> Queued:
    """Send an event of the type webhook.test."""
    return await services.deliveries.test(caller.user_id, webhook_id)


@router.post("/{webhook_id}/replay", status_code=202)
async def replay_webhook(webhook_id: str, body: ReplayRequest, caller: Manager, services: Services) -> ReplayAnswer:
    """Send events of the past again, under the ids that they had: also those that were never sent, for seven days."""
    return await services.deliveries.replay(caller.user_id, webhook_id, body)


@router.get("/{webhook_id}/deliveries")
async def list_deliveries(
    webhook_id: str,
    caller: Reader,
    services: Services,
    page: Annotated[Page, paged(20, most=100)],
    status: DeliveryStatus | None = None,
) -> Paged[DeliveryOut]:
    """The newest first."""
    return await services.deliveries.list(caller.user_id, webhook_id, status, page=page)


@router.get("/{webhook_id}/deliveries/{delivery_id}")
async def get_delivery(webhook_id: str, delivery_id: str, caller: Reader, services: Services) -> DeliveryDetails:
    return await services.deliveries.get(caller.user_id, webhook_id, delivery_id)


@router.post("/{webhook_id}/deliveries/{delivery_id}/redeliver", status_code=202)
async def redeliver(webhook_id: str, delivery_id: str, caller: Manager, services: Services) -> Queued:
    """Send it again now, under the same id, whatever became of it."""
    return await services.deliveries.redeliver(caller.user_id, webhook_id, delivery_id)
