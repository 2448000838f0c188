"""Recorded data directories (tests/data/upgrade): what they hold, and how they are restored."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aperag_standalone.home import Home

if TYPE_CHECKING:
    from aperag_standalone.postgres import PostgresServer

FOLDER = Path(__file__).parents[2] / "data" / "upgrade"
REVISIONS = sorted(path.name.removesuffix(".tar.gz") for path in FOLDER.glob("*.tar.gz"))

# What is kept for some time only would be over by now. A stream's creation is compared with the JetStream store.
_MOVE_TO_NOW = """
    DO $$ DECLARE it record; BEGIN
        FOR it IN
            SELECT table_name, column_name FROM information_schema.columns
            JOIN information_schema.tables USING (table_schema, table_name)
            WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND data_type = 'timestamp with time zone'
                AND column_name <> 'stream_created'
        LOOP
            EXECUTE format('UPDATE %1$I SET %2$I = %2$I + (clock_timestamp() - %3$L::timestamptz)',
                it.table_name, it.column_name, '{recorded}');
        END LOOP;
    END $$
"""


class Recording:
    """``expected`` tells what must have become of everything once nothing is open any more; null: gone."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        with tarfile.open(FOLDER / f"{revision}.tar.gz") as archive:
            members = {member.name: archive.extractfile(member) for member in archive}
            self._parts = {name: found.read() for name, found in members.items() if found is not None}
        self.expected: dict[str, Any] = json.loads(self._parts["expected.json"])

    def restore_database(self, server: PostgresServer, name: str) -> str:
        """Its URL."""
        url = server.create_database(name)
        server.execute(f"SET ROLE aperag;{gzip.decompress(self._parts['database.sql.gz']).decode()}", database=name)
        server.execute(_MOVE_TO_NOW.format(recorded=self.expected["recorded"]), database=name)
        return url

    def unpack(self, home: Home) -> None:
        """All but the database."""
        home.prepare()
        for name, folder in (
            ("jetstream", home.nats / "jetstream"),
            ("objects", home.objects),
            ("secrets", home.secrets),
        ):
            with tarfile.open(fileobj=io.BytesIO(self._parts[f"{name}.tar.gz"])) as archive:
                archive.extractall(folder, filter="data")
