"""What the routes of users, logins, keys, quotas and the audit log are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from aperag_api.kernel.services import provided

if TYPE_CHECKING:
    from aperag_api.identity.apikeys.service import ApiKeyService
    from aperag_api.identity.audit.service import AuditService
    from aperag_api.identity.config.service import ConfigService
    from aperag_api.identity.invitations.service import InvitationService
    from aperag_api.identity.oauth.service import OAuthService
    from aperag_api.identity.outsiders.service import OutsiderService
    from aperag_api.identity.quotas.service import QuotaService
    from aperag_api.identity.sessions.login import Logins
    from aperag_api.identity.sessions.service import SessionService
    from aperag_api.identity.users.service import UserService
    from aperag_common.http.front import Front


@dataclass(frozen=True, slots=True)
class Identity:
    front: Front
    sessions: SessionService
    logins: Logins
    users: UserService
    invitations: InvitationService
    oauth: OAuthService
    config: ConfigService
    api_keys: ApiKeyService
    outsiders: OutsiderService
    quotas: QuotaService
    audit: AuditService


Services = Annotated[Identity, Depends(provided(Identity))]
