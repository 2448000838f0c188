"""The stack that runs on a data directory, and its failures in the command line's own terms."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aperag_cli.errors import StackFailed, WrongState
from aperag_cli.local import LocalStack
from aperag_standalone import control
from aperag_standalone.errors import AlreadyRunning, NotRunning, StandaloneError
from aperag_standalone.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aperag_standalone.supervisor.state import StackState


@contextmanager
def translated() -> Iterator[None]:
    """As a decorator: every command of this package has it."""
    try:
        yield
    except (AlreadyRunning, NotRunning) as err:
        raise WrongState(err.message, hint=err.hint) from err
    except StandaloneError as err:
        raise StackFailed(err.message, hint=err.hint) from err


@translated()
def find(directory: Path) -> LocalStack | None:
    home = Home(directory)
    state = control.running(home)
    return None if state is None else LocalStack(state.api_url, home.api_key, home.traces_token)


def require(home: Home) -> StackState:
    """Raises ``NotRunning`` where none runs."""
    state = control.running(home)
    if state is None:
        message = f"no stack runs on {home.directory}"
        raise NotRunning(message, hint="start one with `aperag up`")
    return state
