"""Facts about users and their API keys."""

from __future__ import annotations

from typing import ClassVar

from aperag_common.events.fact import ApiKeyData, Fact, KeyRevokedData, UserChangeData, UserData
from aperag_common.services import Service


class UserCreated(Fact):
    """A user registered, signed in for the first time, or was made with the installation."""

    type_name: ClassVar[str] = "user.created"
    makers = frozenset({Service.API})
    data: UserData


class UserUpdated(Fact):
    """An administrator changed the user's quotas, or the user linked a provider's account to sign in with."""

    type_name: ClassVar[str] = "user.updated"
    makers = frozenset({Service.API})
    data: UserChangeData


class UserPasswordChanged(Fact):
    """The user's password was changed, and their other sessions were ended."""

    type_name: ClassVar[str] = "user.password_changed"
    makers = frozenset({Service.API})
    data: UserData


class UserDeleted(Fact):
    """An administrator deleted the user: sessions and keys no longer work, and what they own is being removed."""

    type_name: ClassVar[str] = "user.deleted"
    makers = frozenset({Service.API})
    data: UserData


class KeyCreated(Fact):
    """An API key was made for the user."""

    type_name: ClassVar[str] = "key.created"
    makers = frozenset({Service.API})
    data: ApiKeyData


class KeyUpdated(Fact):
    """The description of an API key was changed."""

    type_name: ClassVar[str] = "key.updated"
    makers = frozenset({Service.API})
    data: ApiKeyData


class KeyRevoked(Fact):
    """An API key no longer works, and whatever was opened with it ends."""

    type_name: ClassVar[str] = "key.revoked"
    makers = frozenset({Service.API})
    data: KeyRevokedData


FACTS: tuple[type[Fact], ...] = (
    UserCreated,
    UserUpdated,
    UserPasswordChanged,
    UserDeleted,
    KeyCreated,
    KeyUpdated,
    KeyRevoked,
)
