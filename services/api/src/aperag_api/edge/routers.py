"""All routes of the gateway."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter, Depends
from starlette.routing import BaseRoute

from aperag_api.conversation.answers import endpoints as answers
from aperag_api.conversation.bots import endpoints as bots
from aperag_api.conversation.chats import endpoints as chats
from aperag_api.conversation.feedback import endpoints as feedback
from aperag_api.conversation.flows import endpoints as flows
from aperag_api.conversation.openai import endpoints as openai
from aperag_api.conversation.sockets import endpoints as sockets
from aperag_api.conversation.titles import endpoints as titles
from aperag_api.conversation.turns import endpoints as turns
from aperag_api.edge.mcp import endpoints as mcp
from aperag_api.edge.messages import endpoints as messages
from aperag_api.identity.apikeys import endpoints as api_keys
from aperag_api.identity.audit import endpoints as audit
from aperag_api.identity.audit.middleware import intended
from aperag_api.identity.config import endpoints as config
from aperag_api.identity.invitations import endpoints as invitations
from aperag_api.identity.oauth import endpoints as oauth
from aperag_api.identity.outsiders import endpoints as outsiders
from aperag_api.identity.quotas import endpoints as quotas
from aperag_api.identity.sessions import endpoints as sessions
from aperag_api.identity.settings import DEVELOPMENT
from aperag_api.identity.users import endpoints as users
from aperag_api.kernel.auth import identified_by_cookie
from aperag_api.kernel.http.rates import within_rate
from aperag_api.kernel.http.schemas import REFUSALS
from aperag_api.knowledge.cancellation import endpoints as cancellation
from aperag_api.knowledge.chat_documents import endpoints as chat_documents
from aperag_api.knowledge.collections import endpoints as collections
from aperag_api.knowledge.contents import endpoints as contents
from aperag_api.knowledge.documents import endpoints as documents
from aperag_api.knowledge.ingest import endpoints as ingest
from aperag_api.knowledge.marketplace import endpoints as marketplace
from aperag_api.knowledge.searches import endpoints as searches
from aperag_api.knowledge.sharing import endpoints as sharing
from aperag_api.knowledge.summaries import endpoints as summaries
from aperag_api.knowledge.uploads import endpoints as uploads
from aperag_api.knowledge.web import endpoints as web
from aperag_api.models.catalog import endpoints as models_
from aperag_api.models.inference import endpoints as inference
from aperag_api.models.prompts import endpoints as prompts
from aperag_api.models.providers import endpoints as providers
from aperag_api.operations.dead_letters import endpoints as dead_letters
from aperag_api.operations.events import endpoints as events
from aperag_api.operations.installation import endpoints as installation
from aperag_api.operations.jobs import endpoints as jobs
from aperag_api.operations.queues import endpoints as queues
from aperag_api.operations.subscriptions import endpoints as subscriptions
from aperag_api.operations.tasks import endpoints as tasks
from aperag_api.operations.timelines import endpoints as timelines
from aperag_api.operations.timers import endpoints as timers
from aperag_api.operations.traces import endpoints as traces
from aperag_api.operations.webhooks import endpoints as webhooks

ROUTERS = (
    config.router,
    sessions.router,
    users.router,
    invitations.router,
    oauth.router,
    api_keys.router,
    audit.router,
    collections.router,
    sharing.router,
    marketplace.router,
    summaries.router,
    ingest.router,
    uploads.router,
    documents.router,
    contents.router,
    timelines.router,
    searches.router,
    tasks.router,
    jobs.router,
    cancellation.router,
    events.router,
    subscriptions.router,
    outsiders.router,
    traces.router,
    queues.router,
    quotas.router,
    installation.router,
    prompts.router,
    bots.router,
    flows.router,
    chats.router,
    feedback.router,
    titles.router,
    chat_documents.router,
    answers.router,
    turns.router,
    providers.router,
    models_.router,
    inference.router,
    timers.router,
    dead_letters.router,
    web.router,
    webhooks.router,
)


@cache
def routes_of(deployment_mode: str) -> list[BaseRoute]:
    """They hold nothing of a gateway, and to resolve them takes a fourth of a second: those of one process share them."""
    known = [Depends(identified_by_cookie), Depends(within_rate)]
    under_v1 = APIRouter(prefix="/api/v1", dependencies=[*known, Depends(intended)], responses=REFUSALS)
    for router in ROUTERS:
        under_v1.include_router(router)
    if deployment_mode == DEVELOPMENT:
        under_v1.include_router(users.dev_router)
    every = APIRouter()
    every.include_router(under_v1)
    # What other programs expect at addresses of their own.
    every.include_router(openai.router, dependencies=[*known, Depends(intended)])
    every.include_router(traces.intake)
    every.include_router(sockets.router)
    every.include_router(mcp.router)
    every.include_router(messages.router, dependencies=known)
    return every.routes
