"""A bot's configuration, between its form and what the gateway keeps; pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aperag_console.gateway.failures import GatewayFailure
from aperag_console.models import spec_of

if TYPE_CHECKING:
    from aperag_console.web.forms import Form


def as_object(config: dict[str, Any] | str) -> dict[str, Any]:
    """The gateway gives back the form that was posted; older clients post the JSON of an object."""
    if isinstance(config, dict):
        return config
    try:
        value = json.loads(config)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def parsed(text: str) -> dict[str, Any]:
    """What somebody wrote as JSON; raises ``GatewayFailure`` where it is no object."""
    try:
        value = json.loads(text)
    except ValueError as err:
        raise GatewayFailure("bots.no_json", status=400) from err
    if not isinstance(value, dict):
        raise GatewayFailure("bots.no_json", status=400)
    return value


def config_of(form: Form, before: dict[str, Any]) -> dict[str, Any]:
    """What the form does not show stays."""
    agent = dict(before.get("agent") or {})
    agent["collections"] = [{"id": it} for it in form.texts("collections")]
    for name in ("system_prompt_template", "query_prompt_template"):
        agent[name] = form.text(name)
        if not agent[name]:
            del agent[name]
    agent.pop("completion", None)
    if model := form.text("model"):
        agent["completion"] = spec_of(model)
    kept = {name: value for name, value in before.items() if name != "collection_ids"}
    return kept | {"agent": agent}
