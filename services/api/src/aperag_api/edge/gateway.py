"""The whole gateway as one value: its wings, and how it knows its callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aperag_api.conversation.services import Conversation
    from aperag_api.edge.mcp.proxy import McpProxy
    from aperag_api.identity.services import Identity
    from aperag_api.kernel.auth import Authentication
    from aperag_api.kernel.revocations import Revocations
    from aperag_api.knowledge.services import Knowledge
    from aperag_api.models.services import Models
    from aperag_api.operations.services import Operations


@dataclass(frozen=True, slots=True)
class Gateway:
    authentication: Authentication
    identity: Identity
    knowledge: Knowledge
    conversation: Conversation
    models: Models
    operations: Operations
    mcp: McpProxy
    revocations: Revocations

    @property
    def services(self) -> dict[type, object]:
        """What routes are given, by its type: ``kernel.services.provided``."""
        wings = (self.identity, self.knowledge, self.conversation, self.models, self.operations)
        return {type(it): it for it in (*wings, self.mcp)}
