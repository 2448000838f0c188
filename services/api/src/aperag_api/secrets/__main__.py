"""``python -m aperag_api.secrets rotate``: the database's part of a rotation, with the gateway's own settings."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from aperag_api.edge.settings import Settings
from aperag_api.secrets.rotation import rotate
from aperag_common import logs
from aperag_common.auth.installation import InstallationSecret, SecretRefused
from aperag_common.auth.vault import Vault
from aperag_common.db.session import make_engine
from aperag_models.keys import vault_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_api.secrets.rotation import Count

UNREADABLE = 3
"""The exit code where a value is left that nothing known here decrypts."""


async def _rotate(settings: Settings, secret: InstallationSecret) -> Mapping[str, Count]:
    engine = make_engine(settings.postgres, name="aperag-secrets")
    try:
        vault = Vault.of(secret.current, secret.previous)
        return await rotate(engine, vault, vault_of(settings, secret) or vault)
    finally:
        await engine.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m aperag_api.secrets", description=__doc__)
    parser.add_argument("action", choices=["rotate"], help="encrypt everything under APERAG_SECRET_KEY")
    parser.parse_args()
    settings = Settings()
    logs.configure(settings.telemetry.log_level, json=settings.telemetry.log_json, service="secrets")
    try:
        secret = InstallationSecret.of(settings.secret_key, settings.secret_key_previous)
    except SecretRefused as err:
        sys.stderr.write(f"{err}\n")
        return 1
    counts = asyncio.run(_rotate(settings, secret))
    sys.stdout.write(json.dumps({place: asdict(count) for place, count in counts.items()}) + "\n")
    return UNREADABLE if any(count.unreadable for count in counts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
