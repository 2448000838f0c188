"""The vault of providers' API keys: the one secret that agents and indexers are given of the installation's."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from pydantic import SecretStr

from aperag_common.auth.derived import derive
from aperag_common.auth.encrypted import PROVIDER_KEY
from aperag_common.auth.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aperag_common.auth.installation import InstallationSecret

PURPOSE = "aperag/provider-keys"


def provider_secret(installation: SecretStr) -> SecretStr:
    """Made from the installation's secret, which cannot be found from it: sessions and other credentials stay shut."""
    return SecretStr(base64.urlsafe_b64encode(derive(installation, PURPOSE)).decode())


def vault_of(installation: InstallationSecret) -> Vault:
    """For who holds the installation's secret."""
    return Vault.of(provider_secret(installation.current), map(provider_secret, installation.previous))


def vault_of_keys(current: SecretStr | None, previous: Iterable[SecretStr] = ()) -> Vault | None:
    """For who was given the derived secret; None where there is none, and so only the built-in models are."""
    return None if current is None else Vault.of(current, previous)


def context(provider: str) -> str:
    return PROVIDER_KEY.context(provider)
