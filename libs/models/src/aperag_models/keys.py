"""The vault of providers' API keys and of webhooks' secrets: the one secret that services are given of the installation's."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from pydantic import SecretStr

from aperag_common.auth.derived import derive
from aperag_common.auth.encrypted import PROVIDER_KEY
from aperag_common.auth.vault import Vault

if TYPE_CHECKING:
    from aperag_common.auth.installation import InstallationSecret
    from aperag_models.settings import OutwardSettings

PURPOSE = "aperag/provider-keys"


def provider_secret(installation: SecretStr) -> SecretStr:
    """Made from the installation's secret, which cannot be found from it: sessions and other credentials stay shut."""
    return SecretStr(base64.urlsafe_b64encode(derive(installation, PURPOSE)).decode())


def vault_of(settings: OutwardSettings, installation: InstallationSecret | None = None) -> Vault | None:
    """Under the secret of their own that settings name, else under the one that is made from the installation's.

    None for a service that was given neither: it can use the built-in models only, and deliver nothing.
    """
    if settings.provider_keys is not None:
        return Vault.of(settings.provider_keys, settings.provider_keys_previous)
    if installation is None:
        return None
    return Vault.of(provider_secret(installation.current), map(provider_secret, installation.previous))


def context(provider: str) -> str:
    return PROVIDER_KEY.context(provider)
