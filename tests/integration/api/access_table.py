"""Who may call which route: one line per route, and what each kind of access means for each kind of caller.

A new route needs one line in ``ROUTES`` (and, where it has a body, one in ``VALID`` of ``test_bad_ids``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OK = "ok"
"""In ``MEANING``: whatever the route answers to whoever may call it (``Row.ok``)."""

# stranger    without a credential; the collection is private, as it is for everybody whose line says nothing else
# visitor     without a credential; the collection is published
# ro          the owner, with the role ro
# other       another user
# passer_by   another user; the collection is published
# subscriber  another user, who has subscribed to the published collection
# read_key    the owner, with a key of the scope read
# elsewhere   the owner, with a key that is limited to another collection
# within      the owner, with a key that is limited to this collection
# admin       an administrator who owns nothing of it
# owner       the owner, with a key; session: the owner, with a login's cookie
# What is SERVICE is open to a service of the installation, and to none of them.
MEANING = """
                 stranger visitor ro  other passer_by subscriber read_key elsewhere within admin owner session
PUBLIC           ok       ok      ok  ok    ok        ok         ok       ok        ok     ok    ok    ok
VISIT_LIST       ok       ok      ok  ok    ok        ok         ok       ok        ok     ok    ok    ok
VISIT            404      ok      404 404   ok        ok         404      404       404    404   404   404
READ             401      401     ok  404   404       ok         ok       404       ok     404   ok    ok
SEARCH           401      401     ok  404   ok        ok         ok       404       ok     404   ok    ok
OWNERS_READ      401      401     ok  404   403       403        ok       404       ok     404   ok    ok
OWNERS_VIEW      401      401     ok  404   404       404        ok       404       ok     404   ok    ok
OR_ADMINS_VIEW   401      401     ok  404   404       404        ok       404       ok     ok    ok    ok
CHANGE           401      401     403 404   403       403        403      404       ok     404   ok    ok
SHARE            401      401     403 404   403       403        403      403       403    404   ok    ok
OWN_SEARCHES     401      401     403 ok    ok        ok         403      404       ok     ok    ok    ok
SCOPED_LIST      401      401     ok  ok    ok        ok         ok       ok        ok     ok    ok    ok
SCOPED_ROW       401      401     ok  404   404       404        ok       404       ok     404   ok    ok
SCOPED_CHANGE    401      401     403 404   404       404        403      404       ok     404   ok    ok
ACCOUNT          401      401     ok  ok    ok        ok         ok       403       403    ok    ok    ok
ACCOUNT_ROW      401      401     ok  404   404       404        ok       403       403    ok    ok    ok
OWN_ROW          401      401     ok  404   404       404        ok       403       403    404   ok    ok
ACCOUNT_CHANGE   401      401     403 ok    ok        ok         403      403       403    ok    ok    ok
UNLIMITED        401      401     ok  ok    ok        ok         403      403       403    ok    ok    ok
MANAGE           401      401     403 ok    ok        ok         403      403       403    ok    ok    ok
MANAGE_ROW       401      401     403 404   404       404        403      403       403    404   ok    ok
KEYS             401      401     ok  ok    ok        ok         ok       ok        ok     ok    ok    403
ADMIN            401      401     403 403   403       403        403      403       403    ok    403   403
SERVICE          401      401     401 401   401       401        401      401       401    401   401   401
"""

UNKNOWN = ("expired_key", "revoked_key", "revoked_session", "foreign_page")
"""Callers who showed what is not valid: as strangers, except that another site's page changes nothing (403)."""


@dataclass(frozen=True, slots=True)
class Row:
    """``ok`` are the statuses of whoever gets through; ``request`` what a request holds if not what ``VALID`` says."""

    access: str
    ok: tuple[int, ...] = (200,)
    request: dict[str, Any] = field(default_factory=dict)


NO_CONTENT = (204,)
QUESTION = [{"role": "user", "content": "tea?"}]
SETTLED = (200, 409)
"""There is nothing left to cancel."""

ROUTES = {
    "GET /health": Row("PUBLIC"),
    "GET /asyncapi.json": Row("PUBLIC"),
    "GET /config": Row("PUBLIC"),
    "POST /register": Row("PUBLIC", (200, 400)),
    "POST /login": Row("PUBLIC", (400,)),
    "POST /logout": Row("PUBLIC"),
    "GET /auth/{provider}/authorize": Row("PUBLIC", (404,)),
    "GET /auth/{provider}/callback": Row("PUBLIC", (404,)),
    "POST /test/register_admin": Row("PUBLIC", request={"json": {"username": "boss", "password": "correct horse"}}),
    "GET /user": Row("SCOPED_LIST"),
    "GET /users": Row("UNLIMITED"),
    "DELETE /users/{user_id}": Row("ADMIN"),
    "POST /change-password": Row(
        "UNLIMITED",
        (400,),
        {"json": {"username": "{me}", "old_password": "is wrong", "new_password": "correct horse"}},
    ),
    "POST /invite": Row("ADMIN"),
    "GET /invitations": Row("UNLIMITED"),
    "GET /apikeys": Row("UNLIMITED"),
    "POST /apikeys": Row("MANAGE"),
    "PUT /apikeys/{key_id}": Row("MANAGE_ROW"),
    "DELETE /apikeys/{key_id}": Row("UNLIMITED"),
    "GET /audit-logs": Row("ACCOUNT"),
    "GET /audit-logs/{entry_id}": Row("ACCOUNT_ROW"),
    "GET /quotas": Row("ACCOUNT"),
    "PUT /quotas/{user_id}": Row("ADMIN"),
    "POST /quotas/{user_id}/recalculate": Row("ADMIN"),
    "GET /system/default-quotas": Row("ADMIN"),
    "PUT /system/default-quotas": Row("ADMIN"),
    "GET /settings": Row("ADMIN"),
    "PUT /settings": Row("ADMIN", NO_CONTENT),
    "POST /settings/test_mineru_token": Row("ADMIN", (404,)),
    "POST /collections/test-mineru-token": Row("ACCOUNT_CHANGE", (400,), {"json": {}}),
    "GET /prompts/user": Row("ACCOUNT"),
    "PUT /prompts/user": Row("ACCOUNT_CHANGE"),
    "POST /prompts/user/reset": Row("ACCOUNT_CHANGE"),
    "DELETE /prompts/user/{type}": Row("ACCOUNT_CHANGE", (200, 404)),
    "GET /prompts/system": Row("ACCOUNT"),
    "PUT /prompts/system": Row("ADMIN"),
    "DELETE /prompts/system/{type}": Row("ADMIN", (200, 404)),
    "POST /prompts/preview": Row("ACCOUNT"),
    "POST /prompts/validate": Row("ACCOUNT"),
    "POST /ingest/events": Row("SCOPED_CHANGE", (404,)),
    "GET /ingest/events": Row("SCOPED_ROW", (404,)),
    "POST /collections": Row("ACCOUNT_CHANGE"),
    "GET /collections": Row("SCOPED_LIST"),
    "GET /collections/{collection_id}": Row("READ"),
    "PUT /collections/{collection_id}": Row("CHANGE"),
    "DELETE /collections/{collection_id}": Row("CHANGE"),
    "POST /collections/{collection_id}/cancel": Row("CHANGE"),
    "POST /collections/{collection_id}/rebuild_failed_indexes": Row("CHANGE"),
    "POST /collections/{collection_id}/summary/generate": Row("CHANGE"),
    "GET /collections/{collection_id}/sharing": Row("OWNERS_READ"),
    "POST /collections/{collection_id}/sharing": Row("SHARE", NO_CONTENT),
    "DELETE /collections/{collection_id}/sharing": Row("SHARE", NO_CONTENT),
    "GET /collections/{collection_id}/documents": Row("READ"),
    "POST /collections/{collection_id}/documents": Row("CHANGE"),
    "DELETE /collections/{collection_id}/documents": Row("CHANGE"),
    "POST /collections/{collection_id}/documents/upload": Row("CHANGE"),
    "POST /collections/{collection_id}/documents/confirm": Row("CHANGE"),
    "GET /collections/{collection_id}/documents/{document_id}": Row("READ"),
    "DELETE /collections/{collection_id}/documents/{document_id}": Row("CHANGE"),
    "POST /collections/{collection_id}/documents/{document_id}/rebuild_indexes": Row("CHANGE"),
    "POST /collections/{collection_id}/documents/{document_id}/cancel": Row("CHANGE", SETTLED),
    "GET /collections/{collection_id}/documents/{document_id}/download": Row("READ"),
    "GET /collections/{collection_id}/documents/{document_id}/object": Row("READ"),
    "GET /collections/{collection_id}/documents/{document_id}/preview": Row("READ"),
    "GET /collections/{collection_id}/documents/{document_id}/timeline": Row("OR_ADMINS_VIEW"),
    "GET /collections/{collection_id}/documents/{document_id}/events": Row("OWNERS_VIEW"),
    "POST /collections/{collection_id}/searches": Row("SEARCH"),
    "GET /collections/{collection_id}/searches": Row("SEARCH"),
    "DELETE /collections/{collection_id}/searches/{search_id}": Row("OWN_SEARCHES"),
    "GET /marketplace/collections": Row("VISIT_LIST"),
    "GET /marketplace/collections/subscriptions": Row("SCOPED_LIST"),
    "GET /marketplace/collections/{collection_id}": Row("VISIT"),
    "GET /marketplace/collections/{collection_id}/documents": Row("VISIT"),
    "GET /marketplace/collections/{collection_id}/documents/{document_id}/preview": Row("VISIT"),
    "GET /marketplace/collections/{collection_id}/documents/{document_id}/object": Row("VISIT"),
    "POST /marketplace/collections/{collection_id}/subscribe": Row("MANAGE", (200, 400, 409)),
    "DELETE /marketplace/collections/{collection_id}/subscribe": Row("MANAGE"),
    "GET /tasks/{task_id}": Row("SCOPED_ROW"),
    "POST /tasks/{task_id}/cancel": Row("SCOPED_CHANGE", SETTLED),
    "GET /jobs": Row("ACCOUNT"),
    "POST /jobs/retry": Row("ACCOUNT_CHANGE"),
    "POST /jobs/cancel": Row("ACCOUNT_CHANGE"),
    "GET /bots": Row("ACCOUNT"),
    "POST /bots": Row("ACCOUNT_CHANGE"),
    "GET /bots/{bot_id}": Row("OWN_ROW"),
    "PUT /bots/{bot_id}": Row("MANAGE_ROW"),
    "DELETE /bots/{bot_id}": Row("ACCOUNT_CHANGE", NO_CONTENT),
    "GET /bots/{bot_id}/chats": Row("OWN_ROW"),
    "POST /bots/{bot_id}/chats": Row("MANAGE_ROW"),
    "GET /bots/{bot_id}/chats/{chat_id}": Row("OWN_ROW"),
    "PUT /bots/{bot_id}/chats/{chat_id}": Row("MANAGE_ROW"),
    "DELETE /bots/{bot_id}/chats/{chat_id}": Row("ACCOUNT_CHANGE", NO_CONTENT),
    "POST /bots/{bot_id}/chats/{chat_id}/turns": Row("MANAGE_ROW", (202,)),
    "GET /bots/{bot_id}/flow": Row("OWN_ROW"),
    "PUT /bots/{bot_id}/flow": Row("MANAGE_ROW"),
    "POST /bots/{bot_id}/flow/debug": Row("MANAGE_ROW", (400,)),
    "POST /bots/{bot_id}/chats/{chat_id}/title": Row("MANAGE_ROW"),
    "POST /bots/{bot_id}/chats/{chat_id}/messages/{message_id}": Row("MANAGE_ROW", (404,)),
    "POST /chats/{chat_id}/documents": Row("MANAGE_ROW"),
    "GET /chats/{chat_id}/documents": Row("OWN_ROW"),
    "GET /chats/{chat_id}/documents/{chat_document_id}": Row("OWN_ROW"),
    "DELETE /chats/{chat_id}/documents/{chat_document_id}": Row("MANAGE_ROW"),
    "POST /chats/{chat_id}/search": Row("OWN_ROW"),
    "POST /chat/completions/frontend": Row("ACCOUNT_CHANGE"),
    "GET /v1/models": Row("ACCOUNT"),
    "GET /v1/models/{model_id}": Row("OWN_ROW"),
    "POST /v1/chat/completions": Row("ACCOUNT_CHANGE", (400,), {"json": {"messages": QUESTION}}),
    "GET /turns/{turn_id}": Row("OWN_ROW"),
    "GET /turns/{turn_id}/snapshot": Row("OWN_ROW"),
    "GET /turns/{turn_id}/events": Row("OWN_ROW"),
    "POST /turns/{turn_id}/cancel": Row("MANAGE_ROW", SETTLED),
    "GET /llm_configuration": Row("ACCOUNT"),
    "GET /llm_providers": Row("ACCOUNT"),
    "POST /llm_providers": Row("ACCOUNT_CHANGE"),
    "GET /llm_providers/{provider_name}": Row("OWN_ROW"),
    "PUT /llm_providers/{provider_name}": Row("MANAGE_ROW"),
    "DELETE /llm_providers/{provider_name}": Row("MANAGE_ROW"),
    "POST /llm_providers/{provider_name}/publish": Row("ADMIN", (404,)),
    "GET /llm_provider_models": Row("ACCOUNT"),
    "GET /llm_providers/{provider_name}/models": Row("OWN_ROW"),
    "POST /llm_providers/{provider_name}/models": Row("MANAGE_ROW", (200, 400)),
    "PUT /llm_providers/{provider_name}/models/{api}/{model}": Row("MANAGE_ROW"),
    "DELETE /llm_providers/{provider_name}/models/{api}/{model}": Row("MANAGE_ROW"),
    "POST /available_models": Row("ACCOUNT"),
    "GET /default_models": Row("ACCOUNT"),
    "PUT /default_models": Row("ADMIN"),
    "POST /embeddings": Row("ACCOUNT", (400,)),
    "POST /rerank": Row("ACCOUNT", (404,)),
    "GET /webhooks": Row("ACCOUNT"),
    "POST /webhooks": Row("MANAGE", (201,)),
    "GET /webhooks/{webhook_id}": Row("OWN_ROW"),
    "PUT /webhooks/{webhook_id}": Row("MANAGE_ROW"),
    "DELETE /webhooks/{webhook_id}": Row("MANAGE_ROW", NO_CONTENT),
    "POST /webhooks/{webhook_id}/rotate": Row("MANAGE_ROW"),
    "POST /webhooks/{webhook_id}/enable": Row("MANAGE_ROW"),
    "POST /webhooks/{webhook_id}/disable": Row("MANAGE_ROW"),
    "POST /webhooks/{webhook_id}/test": Row("MANAGE_ROW", (202,)),
    "POST /webhooks/{webhook_id}/replay": Row("MANAGE_ROW", (202,)),
    "GET /webhooks/{webhook_id}/deliveries": Row("OWN_ROW"),
    "GET /webhooks/{webhook_id}/deliveries/{delivery_id}": Row("OWN_ROW"),
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": Row("MANAGE_ROW", (202,)),
    "GET /events": Row("SCOPED_LIST"),
    "GET /subscriptions": Row("ACCOUNT"),
    "POST /subscriptions": Row("ACCOUNT_CHANGE", (201,)),
    "GET /subscriptions/{subscription_id}": Row("OWN_ROW"),
    "DELETE /subscriptions/{subscription_id}": Row("MANAGE_ROW", NO_CONTENT),
    "GET /nats": Row("KEYS"),
    "GET /traces/{trace_id}": Row("SCOPED_ROW", (404,)),
    "POST /v1/traces": Row("SERVICE"),
    "POST /web/search": Row("SCOPED_LIST", (400,), {"json": {"search_llms_txt": "localhost"}}),
    "POST /web/read": Row("SCOPED_LIST"),
    "GET /admin/events": Row("ADMIN"),
    "GET /admin/jobs": Row("ADMIN"),
    "POST /admin/jobs/retry": Row("ADMIN"),
    "POST /admin/jobs/cancel": Row("ADMIN"),
    "GET /admin/queues": Row("ADMIN"),
    "GET /admin/timers": Row("ADMIN"),
    "POST /admin/timers/{timer}/run": Row("ADMIN"),
    "GET /admin/dead-letters": Row("ADMIN"),
    "GET /admin/dead-letters/{letter_id}": Row("ADMIN", (404,)),
    "DELETE /admin/dead-letters/{letter_id}": Row("ADMIN", (200, 404)),
    "POST /admin/dead-letters/redrive": Row("ADMIN"),
    "POST /admin/dead-letters/purge": Row("ADMIN"),
}


def _parse() -> dict[str, dict[str, str]]:
    header, *lines = [line.split() for line in MEANING.strip().splitlines()]
    return {access: dict(zip(header, cells, strict=True)) for access, *cells in lines}


TABLE = _parse()
CALLERS = (*next(iter(TABLE.values())), *UNKNOWN)


def expected(route: str, caller: str) -> tuple[int, ...]:
    """The statuses with which ``route`` may answer."""
    row = ROUTES[route]
    # No cookie opens what is for services, so it does not matter which page sent one.
    if caller == "foreign_page" and not route.startswith("GET ") and row.access != "SERVICE":
        return (403,)
    standing = "session" if caller == "foreign_page" else "stranger" if caller in UNKNOWN else caller
    cell = TABLE[row.access][standing]
    return row.ok if cell == OK else (int(cell),)
