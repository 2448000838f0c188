"""The privileges of the services' roles cover the schema, and keep secrets from whoever has no use for them."""

from __future__ import annotations

import re

import pytest

from aperag_common.db.grants import GRANTS
from aperag_common.db.models import Base
from aperag_common.services import Service, role

PRIVILEGE = re.compile(r"(SELECT|INSERT|UPDATE|DELETE)(?: \(([a-z_]+(?:, [a-z_]+)*)\))?(?:, |\Z)")
SECRETS = {
    "users": {"password_hash"},
    "api_key": {"key_hash"},
    "invitation": {"token", "token_hash"},
    "setting": {"value"},
    "session": {"ip_address", "user_agent"},
    "audit_log": {"request_data", "response_data"},
    "idempotency_record": {"body", "headers"},
    "search_history": {"query"},
    "oauth_account": {"subject", "email"},
    "bot": {"config"},
    "chat": {"title"},
}
"""Columns that no service but the gateway may read or change."""


def test_every_table_has_a_line_and_every_line_a_table() -> None:
    assert set(GRANTS) == set(Base.metadata.tables)


@pytest.mark.parametrize(("table", "service"), [(t, s) for t, of in GRANTS.items() for s in of], ids=str)
def test_a_line_is_made_of_privileges_on_columns_that_there_are(table: str, service: Service) -> None:
    line = GRANTS[table][service]
    parts = list(PRIVILEGE.finditer(line))
    assert "".join(part[0] for part in parts) == line
    named = {column for part in parts if part[2] for column in part[2].split(", ")}
    assert named <= {"ctid", *Base.metadata.tables[table].columns.keys()}


@pytest.mark.parametrize(("table", "columns"), SECRETS.items(), ids=lambda it: it if isinstance(it, str) else "")
@pytest.mark.parametrize("service", [Service.AGENT, Service.INDEXER, Service.RECONCILER, Service.WEBHOOKS])
def test_what_is_the_gateways_alone_is_named_in_no_other_line(table: str, columns: set[str], service: Service) -> None:
    for part in PRIVILEGE.finditer(GRANTS[table].get(service, "")):
        assert part[1] == "DELETE" or part[2], f"{service} has {part[1]} on all of {table}"
        assert not columns & set((part[2] or "").split(", "))


@pytest.mark.parametrize("service", [Service.AGENT, Service.INDEXER, Service.WEBHOOKS])
def test_who_works_has_no_part_in_identity(service: Service) -> None:
    identity = {"users", "api_key", "session", "audit_log", "oauth_account", "setting", "invitation", "user_quota"}
    assert not [table for table in identity if service in GRANTS[table]]


@pytest.mark.parametrize("service", [Service.AGENT, Service.WEBHOOKS])
def test_who_needs_no_documents_reads_none(service: Service) -> None:
    contents = {"collection", "document", "chunk", "chunk_term", "chunk_vector", "document_index", "search_history"}
    assert not [table for table in contents if service in GRANTS[table]]


def test_every_service_on_the_bus_has_a_role_of_its_own() -> None:
    assert {role(service) for service in Service} == {
        "aperag_agent",
        "aperag_api",
        "aperag_indexer",
        "aperag_reconciler",
        "aperag_webhooks",
    }
