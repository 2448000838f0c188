"""Routes of durable subscriptions to events."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Reader, Writer
from aperag_api.operations.services import Services
from aperag_api.operations.subscriptions.schemas import (
    SubscriptionCreate,
    SubscriptionList,
    SubscriptionState,
    SubscriptionView,
)

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"])


@router.post("", status_code=201)
async def create_subscription(body: SubscriptionCreate, caller: Writer, services: Services) -> SubscriptionView:
    """A client reads it over NATS with any key of its owner that is not limited to collections; connect after this."""
    return await services.subscriptions.create(caller, body)


@router.get("")
async def list_subscriptions(caller: Reader, services: Services) -> SubscriptionList:
    return await services.subscriptions.list(caller.user_id)


@router.get("/{subscription_id}")
async def get_subscription(subscription_id: str, caller: Reader, services: Services) -> SubscriptionState:
    """With how many events wait in it."""
    return await services.subscriptions.get(caller.user_id, subscription_id)


@router.delete("/{subscription_id}", status_code=204)
async def delete_subscription(subscription_id: str, caller: Writer, services: Services) -> None:
    """What waits in it is dropped; the events themselves stay."""
    await services.subscriptions.delete(caller.user_id, subscription_id)
