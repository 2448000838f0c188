"""Who may do what with a collection, and what a limited key leaves of a role: tables."""

from __future__ import annotations

import pytest

from aperag_api.access.decide import Right, Standing, Verdict, decide
from aperag_api.kernel.auth import Caller, Credential, CredentialKind, Role, Scope, effective_role, keep_within
from aperag_common import errors

STRANGER, USER = Standing(known=False), Standing()
OWNER = Standing(owner=True)
VISITOR, PASSER_BY = Standing(known=False, published=True), Standing(published=True)
SUBSCRIBER = Standing(published=True, subscribed=True)
PUBLISHER = Standing(owner=True, published=True)

Y, N, F = Verdict.GRANTED, Verdict.HIDDEN, Verdict.FORBIDDEN
RIGHTS = (Right.VISIT, Right.SEARCH, Right.READ, Right.CHANGE)


@pytest.mark.parametrize(
    ("standing", "verdicts"),
    [
        (STRANGER, (N, N, N, N)),
        (VISITOR, (Y, N, N, N)),
        (USER, (N, N, N, N)),
        (PASSER_BY, (Y, Y, N, F)),
        (SUBSCRIBER, (Y, Y, Y, F)),
        (OWNER, (N, Y, Y, Y)),
        (PUBLISHER, (Y, Y, Y, Y)),
        # No subscription outlives its sharing; if one did, it would open nothing.
        (Standing(subscribed=True), (N, N, N, N)),
    ],
)
def test_what_someone_may_do_follows_from_how_they_stand(standing: Standing, verdicts: tuple[Verdict, ...]) -> None:
    assert tuple(decide(standing, right) for right in RIGHTS) == verdicts


@pytest.mark.parametrize(
    ("role", "scope", "some", "left"),
    [
        (Role.ADMIN, Scope.ALL, False, Role.ADMIN),
        (Role.ADMIN, Scope.ALL, True, Role.RW),
        (Role.ADMIN, Scope.READ, False, Role.RO),
        (Role.ADMIN, Scope.READ, True, Role.RO),
        (Role.RW, Scope.ALL, False, Role.RW),
        (Role.RW, Scope.ALL, True, Role.RW),
        (Role.RW, Scope.READ, False, Role.RO),
        (Role.RO, Scope.ALL, False, Role.RO),
        (Role.RO, Scope.ALL, True, Role.RO),
        (Role.RO, Scope.READ, True, Role.RO),
    ],
)
def test_a_key_leaves_of_a_role_what_it_allows(role: Role, scope: Scope, *, some: bool, left: Role) -> None:
    assert effective_role(role, scope, some_collections=some) is left


def caller(*collections: str) -> Caller:
    limit = frozenset(collections) if collections else None
    return Caller("user1", "ann", Role.RW, Credential(CredentialKind.API_KEY, "key1"), collection_ids=limit)


def test_a_key_that_is_limited_to_collections_is_kept_within_them() -> None:
    keep_within(caller(), None)
    keep_within(caller(), "col1")
    keep_within(caller("col1", "col2"), "col2")
    with pytest.raises(errors.CollectionNotFound):
        keep_within(caller("col1"), "col2")
    with pytest.raises(errors.CollectionNotFound):
        keep_within(caller("col1"), "")
    with pytest.raises(errors.Forbidden):
        keep_within(caller("col1"), None)
