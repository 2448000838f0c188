"""Names of users: one spelling for each, and none that hides what it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aperag_api.identity.accounts.names import LONGEST_NAME, email_of, look_of, name_key, name_of


@pytest.mark.parametrize(
    ("given_name", "shown", "key"),
    [
        ("Alice", "Alice", "alice"),
        ("  Alice  ", "Alice", "alice"),
        ("Ａｌｉｃｅ", "Alice", "alice"),
        ("STRASSE", "STRASSE", "strasse"),
        ("straße", "straße", "strasse"),
        ("김철수", "김철수", "김철수"),
        ("e\u0301", "é", "é"),
        ("İ", "İ", "i̇"),
    ],
)
def test_a_name_is_shown_as_given_and_compared_without_case(given_name: str, shown: str, key: str) -> None:
    assert name_of(given_name) == shown
    assert name_key(given_name) == name_key(shown) == key


@pytest.mark.parametrize(
    "bad", ["", " ", "a\nb", "a\0b", "a\u202eb", "a\u200bb", "\ufeff", "a\ue000b", "a\u2028b", "x" * 129]
)
def test_a_name_that_hides_something_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="name|character"):
        name_of(bad)


@pytest.mark.parametrize("mixed", ["аdmin", "adminο", "pаypal", "Αdmin"])
def test_a_name_of_two_alphabets_that_look_alike_is_refused(mixed: str) -> None:
    with pytest.raises(ValueError, match="alphabets"):
        name_of(mixed)


@pytest.mark.parametrize(
    ("given_name", "look"),
    [("роре", "pope"), ("àlice", "alice"), ("Анна", "aннa"), ("Bob1", "bob1"), ("김철수", None)],
)
def test_a_name_looks_like_what_people_may_read_instead(given_name: str, look: str | None) -> None:
    assert name_of(given_name) == given_name
    if look is not None:
        assert look_of(given_name) == look


@pytest.mark.parametrize(
    "bad",
    ["", "a", "a@", "@b.org", "a@b@c.org", "a b@c.org", "a@b..org", "a@b.org\nx", "a@b.org\0", "a" * 250 + "@b.org"],
)
def test_what_is_no_address_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="address|character"):
        email_of(bad)


@pytest.mark.parametrize(
    ("given_email", "email"),
    [(" Some.One+x@Example.ORG ", "some.one+x@example.org"), ("a@b", "a@b"), ("ü@ü.de", "ü@ü.de")],
)
def test_an_address_has_one_spelling(given_email: str, email: str) -> None:
    assert email_of(given_email) == email


@given(st.text(max_size=200))
def test_whatever_is_accepted_stays_itself(text: str) -> None:
    try:
        name = name_of(text)
    except ValueError:
        return
    assert 0 < len(name) <= LONGEST_NAME
    assert name_of(name) == name
    assert name_key(name) == name_key(text) == name_key(name_key(text))
    assert len(name_key(name)) <= 512


@given(st.emails())
def test_usual_addresses_are_accepted_and_stay_themselves(text: str) -> None:
    email = email_of(text)
    assert email_of(email) == email
