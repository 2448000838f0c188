"""Commands that are imported when they are run: help and completion do not pay for all of them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from aperag_cli.errors import NotInstalled

if TYPE_CHECKING:
    from collections.abc import Callable

INSTALL = "install all of ApeRAG, for example with `uv tool install .` in its checkout; other commands work without it"


class LazyCommand(TyperCommand):
    """Stands for ``module:attribute``: a Typer application, or the function of a single command.

    Help does not list it where the package that it ``requires`` is not installed; whoever calls it is told.
    """

    def __init__(self, name: str, *, target: str, help: str, panel: str, requires: str = "") -> None:  # noqa: A002  Typer's name for it
        self._missing = requires if requires and find_spec(requires) is None else ""
        super().__init__(name, callback=None, help=help, rich_help_panel=panel, hidden=bool(self._missing))
        self._target = target

    def load(self) -> Any:
        """The command itself, as Typer makes it; Typer does not export its type."""
        if self._missing:
            message = (
                f"`aperag {self.name}` needs the package {self._missing.replace('_', '-')}, which is not installed"
            )
            raise NotInstalled(message, hint=INSTALL)
        module, _, attribute = self._target.partition(":")
        found: typer.Typer | Callable[..., object] = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        single = typer.Typer(add_completion=False)
        single.command(self.name)(found)
        return typer.main.get_command(single)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """A context of the command itself, so that this one is never invoked."""
        return self.load().make_context(info_name, args, parent=parent, **extra)
