"""Credentials of a collection's source: encrypted where they are kept, masked wherever they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_api.knowledge.collections.schemas import CollectionConfig
from aperag_common import errors
from aperag_common.auth.encrypted import COLLECTION_CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_common.auth.vault import Vault

MASK = "****"
PLACES = ("host", "port", "region", "bucket", "pop_server")
"""Where credentials are sent to."""
# Whoever reads a configuration for anything else passes over this member of it.
_KEPT_IN = str(COLLECTION_CREDENTIALS.inside)
FIELDS = tuple(
    name
    for name, field in CollectionConfig.model_fields.items()
    if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("format") == "password"
)


def stored(config: CollectionConfig, before: Mapping[str, Any], vault: Vault, collection_id: str) -> dict[str, Any]:
    """``config`` as it is kept. A credential that is absent or masked stays as it was ``before``, an empty one goes.

    Where another place is named, it has to be given again: raises ``InvalidSourceConfig``.
    """
    kept = config.model_dump(mode="json", exclude=set(FIELDS))
    tokens = dict(before.get(_KEPT_IN) or {})
    moved = [name for name in PLACES if kept.get(name) not in (None, before.get(name))]
    unsaid = sorted(name for name in tokens if getattr(config, name) in (None, MASK))
    if moved and unsaid:
        message = f"{moved[0]} names another place: send {', '.join(unsaid)} again, or as an empty text"
        raise errors.InvalidSourceConfig(message)
    for name in FIELDS:
        given = getattr(config, name)
        if given == "":
            tokens.pop(name, None)
        elif given is not None and given != MASK:
            tokens[name] = vault.encrypt(given, context=COLLECTION_CREDENTIALS.context(collection_id, name))
    return kept | ({_KEPT_IN: tokens} if tokens else {})


def shown(config: Mapping[str, Any]) -> CollectionConfig:
    """A stored configuration as its owner sees it."""
    masks = dict.fromkeys(config.get(_KEPT_IN) or {}, MASK)
    return CollectionConfig.model_validate({**config, **masks})
