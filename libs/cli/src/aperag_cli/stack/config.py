"""``aperag config``: the settings of the stack on this machine, and what is wrong with them."""

from __future__ import annotations

import difflib
import importlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from aperag_cli.errors import StackFailed
from aperag_cli.exits import Exit
from aperag_cli.output import Output, OutputOption, Printer, plain, table

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Show and check the settings of the stack. A wrong one keeps it from starting.",
)

SERVICES = {
    service: f"aperag_{service}.settings"
    for service in ("agent", "console", "indexer", "mcp", "reconciler", "webhooks")
} | {"api": "aperag_api.edge.settings"}
PREFIX = "APERAG_"
UNKNOWN = "no service reads it"
OWN = {f"{PREFIX}{name}" for name in ("HOME", "API_KEY", "PYTHON", "API_URL", "MCP_URL")}
"""Read by the command line, or decided by the stack."""
MADE = {"secret_key": "0" * 64, "provider_keys": "0" * 64}
"""Secrets that the stack makes itself."""

PLAIN = {
    "int_parsing": "its value is no whole number",
    "float_parsing": "its value is no number",
    "bool_parsing": "its value is neither true nor false",
    "time_delta_parsing": "its value is no duration: write it like PT30S or 00:00:30",
    "greater_than": "its value is too small",
    "greater_than_equal": "its value is too small",
    "less_than_equal": "its value is too large",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """``block``: whatever begins with the name, as fields of a table have names that nobody foresees."""

    name: str
    service: str
    default: str
    value: str | None
    secret: bool
    block: bool


@dataclass(frozen=True, slots=True)
class Problem:
    setting: str
    problem: str


@app.command()
def show(*, output: OutputOption = Output.TABLE) -> None:
    """Show the settings that the environment changes. Secrets are masked."""
    shown = {it.name: it for it in known(os.environ) if it.value is not None}
    rows = [
        {"setting": it.name, "value": "****" if it.secret else it.value, "default": it.default} for it in shown.values()
    ]
    Printer(output).whole(rows, lambda: table(rows, ("setting", "value", "default")))


@app.command()
def check(*, output: OutputOption = Output.TABLE) -> None:
    """Name settings that no service reads, and values that no service takes. Exit code 1 if there is one."""
    found = problems(os.environ)
    printer = Printer(output)
    rows = [asdict(it) for it in found]
    printer.whole(rows, lambda: table(rows, ("setting", "problem")) if rows else plain("All settings are good."))
    if found:
        raise typer.Exit(Exit.FAILED)


def is_set(env: Mapping[str, str]) -> bool:
    """Whether there is anything to check: it costs the import of every service's settings."""
    return any(name.upper().startswith(PREFIX) and name.upper() not in OWN for name in env)


def require_sound(env: Mapping[str, str]) -> None:
    """Before anything starts. Raises ``StackFailed``; a name that resembles none may belong to another program."""
    if not is_set(env):
        return
    wrong = [it for it in problems(env) if it.problem != UNKNOWN]
    if wrong:
        told = "\n  ".join(f"{it.setting}: {it.problem}" for it in wrong)
        raise StackFailed(f"settings are wrong, so nothing was started:\n  {told}", hint="see `aperag config check`")


def problems(env: Mapping[str, str]) -> list[Problem]:
    settings = known(env)
    names = {it.name for it in settings} | OWN
    blocks = tuple(f"{it.name}__" for it in settings if it.block)
    found = [
        Problem(name, _unknown(name, names))
        for name in sorted(map(str.upper, env))
        if name.startswith(PREFIX) and name not in names and not name.startswith(blocks)
    ]
    for service in SERVICES:
        found += [it for it in _refused(service) if it not in found]
    return found


def known(env: Mapping[str, str]) -> list[Setting]:
    values = {name.upper(): value for name, value in env.items()}
    return [it for service in SERVICES for it in _of(service, values)]


def _of(service: str, env: Mapping[str, str]) -> Iterable[Setting]:
    for name, field in _class(service).model_fields.items():
        own, kind = f"{PREFIX}{name}".upper(), field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield _setting(own, service, field, env, block=False)
            for inner, inner_field in kind.model_fields.items():
                yield _setting(f"{own}__{inner}".upper(), service, inner_field, env)
            continue
        aliases = getattr(field.validation_alias, "choices", ())
        for alias in dict.fromkeys((own, *(str(it).upper() for it in aliases))):
            yield _setting(alias, service, field, env)


def _setting(
    name: str, service: str, field: FieldInfo, env: Mapping[str, str], *, block: bool | None = None
) -> Setting:
    secret, nested = "SecretStr" in str(field.annotation), "dict[" in str(field.annotation)
    return Setting(name, service, _shown(field), env.get(name), secret, nested if block is None else block)


def _shown(field: FieldInfo) -> str:
    default = None if field.is_required() or field.default_factory else field.default
    match default:
        case None | SecretStr():
            return ""
        case timedelta():
            return str(TypeAdapter(timedelta).dump_python(default, mode="json"))
        case tuple() | bool():
            return json.dumps(default)
    return str(default)


def _refused(service: str) -> list[Problem]:
    settings = _class(service)
    made: dict[str, Any] = {
        name: value for name, value in MADE.items() if name in settings.model_fields and name.upper() not in os.environ
    }
    try:
        settings(**made)
    except ValidationError as err:
        told = [
            it for it in err.errors(include_url=False) if it["type"] != "extra_forbidden"
        ]  # named as unknown already
        return [
            Problem(_named(it["loc"]), PLAIN.get(it["type"], it["msg"].removeprefix("Value error, "))) for it in told
        ]
    except ValueError as err:  # no JSON where a list is expected
        return [Problem(service, str(err))]
    return []


def _named(place: tuple[Any, ...]) -> str:
    return PREFIX + "__".join(str(it).upper() for it in place) if place else "settings"


def _unknown(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
    return f"{UNKNOWN}: did you mean {near[0]}?" if near else UNKNOWN


def _class(service: str) -> type[BaseSettings]:
    found: type[BaseSettings] = importlib.import_module(SERVICES[service]).Settings
    return found
