"""The embedded PostgreSQL has room for what the pools of a stack may open at their peak."""

from __future__ import annotations

from aperag_common.services import Service
from aperag_common.settings import PostgresSettings
from aperag_standalone.postgres import SETTINGS
from aperag_work.database import POOL_SIZE

OTHERS = 30
"""The supervisor, PostgreSQL's own workers and reserve, an administrator."""


def test_two_of_every_service_find_room() -> None:
    pools = PostgresSettings()
    each = pools.pool_size + pools.max_overflow + 2 * POOL_SIZE
    assert 2 * len(Service) * each + OTHERS <= int(SETTINGS["max_connections"])
