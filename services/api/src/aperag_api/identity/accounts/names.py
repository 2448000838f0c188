"""Names and addresses of users: one spelling for each, and none that looks like what it is not."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

LONGEST_NAME = 128
LONGEST_EMAIL = 254

# Control characters, characters without a shape of their own, private and unassigned ones, line separators.
_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# What looks like a Latin letter in most typefaces, of what Unicode lists as confusable (UTS 39).
_LOOKS = str.maketrans("аԁеһіјӏорсԛѕԝхуαικνορτυχı", "adehijlopcqswxyaikvoptuxi")
_ALIKE = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)*")


def name_of(given: str) -> str:
    """The name as it is shown; raises ValueError with what is wrong with it."""
    name = unicodedata.normalize("NFKC", given).strip()
    if not name:
        raise ValueError("a user name needs at least one character")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a user name has at most {LONGEST_NAME} characters")
    _check(name)
    alphabets = {
        it for letter in name if letter.isalpha() for it in _ALIKE if unicodedata.name(letter, "").startswith(it)
    }
    if len(alphabets) > 1:
        raise ValueError("it mixes letters of several alphabets, which look alike: use one of them")
    return name


def look_of(given: str) -> str:
    """The name that people may read instead: as a key, without accents, in Latin letters where others look like them."""
    plain = unicodedata.normalize("NFKD", name_key(given))
    return "".join(it for it in plain if not unicodedata.combining(it)).translate(_LOOKS)


def email_of(given: str) -> str:
    """The address as it is stored and compared; raises ValueError with what is wrong with it."""
    email = unicodedata.normalize("NFKC", given).strip().casefold()
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        raise ValueError("not an e-mail address: write it like name@example.org")
    _check(email)
    return email


def name_key(given: str) -> str:
    """What names are compared by; two names with the same key are the same user."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", given).strip().casefold())


def _check(text: str) -> None:
    if any(unicodedata.category(character) in _REFUSED for character in text):
        raise ValueError("it holds a control character or one without a shape of its own: leave it out")


def _none_where_empty(given: object) -> object:
    return None if isinstance(given, str) and not given.strip() else given


Username = Annotated[str, Field(max_length=1024), AfterValidator(name_of)]
Email = Annotated[str, Field(max_length=1024), AfterValidator(email_of)]
OptionalUsername = Annotated[Username | None, BeforeValidator(_none_where_empty)]
OptionalEmail = Annotated[Email | None, BeforeValidator(_none_where_empty)]
