"""What everybody may know of an installation (contract 1.1)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class AuthProvider(BaseModel):
    auth_domain: str
    auth_app_id: str


class Auth(BaseModel):
    """Beside ``type`` stands the block of that name, where the type has one."""

    type: str
    auth0: AuthProvider | None = None
    authing: AuthProvider | None = None
    logto: AuthProvider | None = None


class ProviderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    label: str


class ConfigOut(BaseModel):
    """``login_methods`` are `local` and the names of the providers; ``providers`` says what people call those."""

    admin_user_exists: bool
    auth: Auth
    login_methods: list[str]
    providers: list[ProviderOut] = []
    register_mode: str
