"""Put together from settings, and from whether there is an administrator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.identity.accounts.admission import LOCAL
from aperag_api.identity.accounts.repository import has_admin
from aperag_api.identity.config.schemas import Auth, AuthProvider, ConfigOut, ProviderOut
from aperag_api.kernel.reading import reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.identity.oauth.providers import Provider
    from aperag_api.identity.settings import IdentitySettings

COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class ConfigService:
    engine: AsyncEngine
    settings: IdentitySettings
    providers: Mapping[str, Provider]

    async def get(self) -> ConfigOut:
        async with reading(self.engine) as conn:
            exists = await has_admin(conn)
        return ConfigOut(
            admin_user_exists=exists,
            auth=self._auth(),
            login_methods=[LOCAL, *self.providers],
            providers=[ProviderOut(name=it.name, label=it.settings.label or it.name) for it in self.providers.values()],
            register_mode=self.settings.register_mode,
        )

    def _auth(self) -> Auth:
        kind = self.settings.auth_type
        if kind == COOKIE:
            return Auth(type=kind)
        told = AuthProvider(auth_domain=self.settings.auth_domain, auth_app_id=self.settings.auth_app_id)
        return Auth.model_validate({"type": kind, kind: told})
