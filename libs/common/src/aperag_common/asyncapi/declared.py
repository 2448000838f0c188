"""The channels of other services: one for each fact, durable subscriptions, ingest, webhooks."""

from __future__ import annotations

from inspect import cleandoc
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from aperag_common import subjects
from aperag_common.asyncapi.channels import CLOUDEVENTS_JSON, Action, Channel, Form, Group, Server, register
from aperag_common.events.fact import Fact
from aperag_common.events.facts import FACTS
from aperag_common.events.ingest import UpsertData
from aperag_common.events.webhooks import WebhookTest

UNDELIVERED = "webhook."
"""Facts about webhooks are on NATS only: one of them would cause the next."""

DELIVERED: tuple[type[Fact], ...] = (
    *(fact for fact in FACTS if not fact.type_name.startswith(UNDELIVERED)),
    WebhookTest,
)

OWNER = "your user id; `aperag nats context` and `GET /api/v1/user` show it"


class PullRequest(BaseModel):
    """Asks for messages of a durable subscription; every NATS client library sends it (`fetch`, `consume`)."""

    batch: Annotated[int, Field(ge=1)] = 1
    expires: Annotated[int | None, Field(description="nanoseconds until the request ends unanswered")] = None
    no_wait: Annotated[bool, Field(description="answer at once with what there is")] = False


class Acknowledgement(RootModel[Literal["+ACK", "-NAK", "+WPI", "+TERM"]]):
    """Done, deliver again, still working, never deliver again; `-NAK` may be followed by JSON with a `delay`."""


class IngestEvent(BaseModel):
    """A CloudEvent that creates, replaces or deletes a document.

    ``subject`` is your own key of the document. ``source`` and ``id`` together are the key under which an event counts
    once.
    """

    model_config = ConfigDict(extra="allow")

    specversion: Literal["1.0"]
    id: str
    source: str
    type: Literal["aperag.document.upsert", "aperag.document.delete"]
    subject: str
    time: Annotated[str | None, Field(description="RFC 3339; of two events of one document the newer one counts")] = (
        None
    )
    data: Annotated[UpsertData | None, Field(description="of an upsert; nothing of a delete")] = None


class DeliveryHeaders(BaseModel):
    """Standard Webhooks: verify before you believe."""

    webhook_id: Annotated[
        str, Field(alias="webhook-id", description="of the delivery; a repeated one carries the same")
    ]
    webhook_timestamp: Annotated[str, Field(alias="webhook-timestamp", description="seconds since 1970")]
    webhook_signature: Annotated[
        str, Field(alias="webhook-signature", description="`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`")
    ]


def _form(fact: type[BaseModel], name: str) -> Form:
    return Form(name, (fact,), cleandoc(fact.__doc__ or ""), CLOUDEVENTS_JSON)


EVENT_FORMS = tuple(_form(fact, fact.type_name) for fact in FACTS)

register(
    *(
        Channel(
            form.name,
            Group.EVENTS,
            Action.SEND,
            subjects.events_of_type(form.name).replace("*", "{owner}"),
            form.name,
            form.summary,
            (form,),
            parameters={"owner": OWNER},
        )
        for form in EVENT_FORMS
    ),
    Channel(
        "subscription.pull",
        Group.SUBSCRIPTIONS,
        Action.RECEIVE,
        f"$JS.API.CONSUMER.MSG.NEXT.{subjects.EVENTS}.{{consumer}}",
        "Pull from a durable subscription",
        "Create the subscription first (POST /api/v1/subscriptions): its answer names stream and consumer. Events are"
        " kept for it for as long as the stream keeps them, while you are away as well.",
        (Form("pull", (PullRequest,), "Asks for the next events."),),
        parameters={"consumer": "the subscription's `consumer`"},
        replies=EVENT_FORMS,
    ),
    Channel(
        "subscription.ack",
        Group.SUBSCRIPTIONS,
        Action.RECEIVE,
        f"$JS.ACK.{subjects.EVENTS}.{{consumer}}.{{delivery}}",
        "Acknowledge an event",
        "The reply subject of a pulled message. What is not acknowledged is delivered again.",
        (Form("ack", (Acknowledgement,), "What became of a delivery.", "text/plain"),),
        parameters={"consumer": "the subscription's `consumer`", "delivery": "the rest of the reply subject"},
    ),
    Channel(
        "ingest",
        Group.INGEST,
        Action.RECEIVE,
        "aperag.ingest.{owner}.{collection}",
        "Publish a document",
        "Publish with JetStream and wait for the acknowledgement: it says that the event is stored. What became of it is"
        " an event, and the answer of GET /api/v1/ingest/events. Over HTTP: POST /api/v1/ingest/events.",
        (Form("ingest", (IngestEvent,), "Creates, replaces or deletes a document.", CLOUDEVENTS_JSON),),
        parameters={"owner": OWNER, "collection": "the id of the collection"},
    ),
    Channel(
        "webhook",
        Group.WEBHOOKS,
        Action.SEND,
        None,
        "A webhook that you receive",
        "An HTTP POST to the address that you registered (POST /api/v1/webhooks). The body is the event as it stands on"
        " NATS; `webhook.test` is sent by POST /api/v1/webhooks/{id}/test alone. Answer 2xx within 15 seconds; otherwise it"
        " is sent again later, up to eight times. 410 disables the webhook.",
        (
            Form(
                "webhook",
                DELIVERED,
                "One event, signed.",
                CLOUDEVENTS_JSON,
                headers=DeliveryHeaders,
            ),
        ),
        server=Server.RECEIVER,
    ),
)
