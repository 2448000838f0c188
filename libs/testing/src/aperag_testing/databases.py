"""Migrated databases that tests use one after another, each put back to what the migration left in it."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import asyncpg

from aperag_common.db import migrate
from aperag_standalone.postgres import SUPERUSER

if TYPE_CHECKING:
    from aperag_standalone.postgres import PostgresServer

TEMPLATE = "migrated"

# Rows that the migration itself wrote are kept beside the tables, and what the schema looks like.
_REMEMBER = """
CREATE SCHEMA pristine;
CREATE FUNCTION pristine.schema() RETURNS text LANGUAGE sql AS $$
    SELECT md5(concat(
        (SELECT string_agg(concat_ws(' ', relname, relacl, relrowsecurity, relforcerowsecurity), ',' ORDER BY relname)
            FROM pg_class WHERE relnamespace = 'public'::regnamespace),
        (SELECT string_agg(concat_ws(' ', attrelid, attname, atttypid, attnotnull, attacl), ',' ORDER BY attrelid, attnum)
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = 'public'::regnamespace AND attnum > 0),
        (SELECT string_agg(concat_ws(' ', tgname, tgrelid, tgenabled), ',' ORDER BY tgrelid, tgname)
            FROM pg_trigger WHERE NOT tgisinternal OR tgenabled <> 'O'),
        (SELECT string_agg(concat_ws(' ', proname, pronargs), ',' ORDER BY oid)
            FROM pg_proc WHERE pronamespace = 'public'::regnamespace),
        (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
    ))
$$;
DO $$
DECLARE of regclass; filled boolean;
BEGIN
    FOR of IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', of) INTO filled;
        IF filled THEN EXECUTE format('CREATE TABLE pristine.%I AS TABLE %s', of::text, of); END IF;
    END LOOP;
END $$;
"""

# Triggers and foreign keys do not act on what is put back.
_RESTORE = """
DO $$
DECLARE written text; of text;
BEGIN
    SET LOCAL session_replication_role = replica;
    SELECT string_agg(oid::regclass::text, ', ') INTO written FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND pg_relation_size(oid) > 0;
    EXECUTE 'TRUNCATE ' || written || ' RESTART IDENTITY CASCADE';
    FOR of IN SELECT relname FROM pg_class WHERE relnamespace = 'pristine'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('INSERT INTO public.%I SELECT * FROM pristine.%I', of, of);
    END LOOP;
END $$
"""
_LEAVE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


class Databases:
    """Of one server. Making a database copies a thousand files; emptying what a test wrote costs a tenth of that.

    A database whose schema a test changed is dropped instead.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._free: list[str] = []
        # A loop of its own: the fixtures' loop belongs to the test, and this class is used outside of it.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._runner.run(migrate.upgrade(server.create_database(TEMPLATE)))
        server.execute(_REMEMBER, database=TEMPLATE)
        self._schema = server.execute("SELECT pristine.schema()", database=TEMPLATE)

    def take(self) -> str:
        """The name of a database that holds what the migration wrote."""
        if self._free:
            return self._free.pop()
        name = f"t{uuid.uuid4().hex}"
        self._server.create_database(name, template=TEMPLATE)
        return name

    def give_back(self, name: str) -> None:
        if self._runner.run(self._restored(name)):
            self._free.append(name)
        else:
            self._server.drop_database(name)

    def close(self) -> None:
        self._runner.close()

    async def _restored(self, name: str) -> bool:
        url = self._server.url(name, role=SUPERUSER).replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(_LEAVE.replace("$1", f"'{name}'"))
            if await connection.fetchval("SELECT pristine.schema()") != self._schema:
                return False
            await connection.execute(_RESTORE)
        finally:
            await connection.close()
        return True
