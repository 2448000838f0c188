"""Exit codes of ``aperag``."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from aperag_cli.client.errors import Ambiguous, NotAuthorised, NotFound
from aperag_cli.errors import WrongState

if TYPE_CHECKING:
    from aperag_cli.errors import CliError


class Exit(IntEnum):
    """``USAGE`` and ``INTERRUPTED`` are also what the option parser ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WRONG_STATE = 3
    NOT_FOUND = 4
    NOT_AUTHORISED = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "failed, completely or in part",
    Exit.USAGE: "wrong arguments",
    Exit.WRONG_STATE: "the stack is not running, or already is",
    Exit.NOT_FOUND: "no such collection, document, task, key, user, dead letter or timer",
    Exit.NOT_AUTHORISED: "API key missing, wrong, revoked or not allowed to",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
}

_OF_ERRORS: tuple[tuple[type[CliError], Exit], ...] = (
    (WrongState, Exit.WRONG_STATE),
    (NotFound, Exit.NOT_FOUND),
    (NotAuthorised, Exit.NOT_AUTHORISED),
    (Ambiguous, Exit.USAGE),
)


def exit_of(err: CliError) -> Exit:
    return next((code for kind, code in _OF_ERRORS if isinstance(err, kind)), Exit.FAILED)
