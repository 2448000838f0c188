"""``aperag models``."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from aperag_cli.arguments import Yes, confirm
from aperag_cli.client import models
from aperag_cli.client.errors import NotFound
from aperag_cli.output import details, table
from aperag_cli.remote import Session, remote

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Manage model providers, their keys, and the default models. Write a model as PROVIDER/MODEL.",
)
providers = typer.Typer(no_args_is_help=True, help="Manage the addresses and keys of model providers.")
app.add_typer(providers, name="providers")

PROVIDER_COLUMNS = ("name", "label", "status", "user_id", "base_url", "api_key")
MODEL_COLUMNS = ("id", "api", "tags", "context_window")


class Api(StrEnum):
    """What a model is asked for."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"


class Use(StrEnum):
    """Where a model is used that nobody chose."""

    AGENT = "agent"
    COLLECTION = "collection"
    EMBEDDING = "embedding"
    RERANK = "rerank"
    BACKGROUND = "background"


SCENARIOS = {
    Use.AGENT: "default_for_agent_completion",
    Use.COLLECTION: "default_for_collection_completion",
    Use.EMBEDDING: "default_for_embedding",
    Use.RERANK: "default_for_rerank",
    Use.BACKGROUND: "default_for_background_task",
}

Name = Annotated[str, typer.Argument(metavar="PROVIDER", help="Name of the provider.", show_default=False)]
Model = Annotated[str, typer.Argument(metavar="PROVIDER/MODEL", help="The model.", show_default=False)]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="API key; `-` reads it from standard input, so that other users cannot see it.",
        show_default=False,
    ),
]


@app.command("list")
@remote
async def list_models(
    session: Session,
    *,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="Only models with this tag, for example `recommend`; can be repeated.", show_default="all"),
    ] = None,
) -> None:
    """List usable models: those of providers with a key, and the built-in ones."""
    found = await models.available(session.api.http, tag)
    session.printer.whole(found, lambda: table(found, MODEL_COLUMNS))


@app.command()
@remote
async def add(
    session: Session,
    model: Model,
    *,
    api: Annotated[Api, typer.Option(help="What it is asked for.")] = Api.COMPLETION,
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.", show_default=False)] = None,
    context_window: Annotated[int | None, typer.Option(min=1, help="In tokens.", show_default=False)] = None,
) -> None:
    """Add a model to a provider.

    Example: aperag models add ollama/qwen3:8b --tag recommend
    """
    provider, name = _parts(model)
    body: dict[str, Any] = {"api": api.value, "model": name, "tags": tag or [], "context_window": context_window}
    made = await models.add_model(session.api.http, provider, body)
    session.printer.whole(made, lambda: details(made))


@app.command()
@remote
async def remove(
    session: Session,
    model: Model,
    *,
    api: Annotated[Api, typer.Option(help="What it is asked for.")] = Api.COMPLETION,
    yes: Yes = False,
) -> None:
    """Remove a model from a provider."""
    provider, name = _parts(model)
    confirm(f"Remove the {api.value} model {model}?", yes=yes)
    if not await models.delete_model(session.api.http, provider, api.value, name):
        message = f"provider {provider} has no {api.value} model {name}"
        raise NotFound(message, hint="`aperag models list` shows those that can be called")
    session.printer.note(f"Removed {model}.")


@app.command()
@remote
async def defaults(session: Session) -> None:
    """Show the default models. If there is none, the built-in model is used."""
    found = await models.defaults(session.api.http)
    session.printer.whole(found, lambda: table(found, ("scenario", "provider_name", "model")))


@app.command("set-default")
@remote
async def set_default(
    session: Session,
    use: Annotated[Use, typer.Argument(help="What the model is used for.", show_default=False)],
    model: Annotated[
        str,
        typer.Argument(
            metavar="PROVIDER/MODEL", help="Model of a public provider; `none` removes the default.", show_default=False
        ),
    ],
) -> None:
    """Choose a default model for everybody. For administrators.

    Example: aperag models set-default agent openai/gpt-4o-mini
    """
    provider, name = (None, None) if model == "none" else _parts(model)
    found = await models.set_default(session.api.http, SCENARIOS[use], provider, name)
    session.printer.whole(found, lambda: table(found, ("scenario", "provider_name", "model")))


@providers.command("list")
@remote
async def list_providers(session: Session) -> None:
    """List your providers. Administrators also see those of the installation."""
    found = await models.providers(session.api.http)
    session.printer.whole(found, lambda: table(found, PROVIDER_COLUMNS))


@providers.command("add")
@remote
async def add_provider(
    session: Session,
    name: Name,
    base_url: Annotated[
        str, typer.Argument(metavar="URL", help="For example https://api.example.org/v1.", show_default=False)
    ],
    *,
    key: Key = None,
    label: Annotated[str | None, typer.Option(help="Name that users see.", show_default="the name")] = None,
    rerank_dialect: Annotated[str, typer.Option(help="jina_ai, cohere or alibabacloud.")] = "jina_ai",
) -> None:
    """Add your own provider: any address with an OpenAI-compatible API.

    Example: aperag models providers add ollama http://127.0.0.1:11434/v1 --key none
    """
    body = {
        "name": name,
        "label": label or name,
        "base_url": base_url,
        "api_key": _key(key),
        "rerank_dialect": rerank_dialect,
    }
    made = await models.create_provider(session.api.http, body)
    session.printer.whole(made, lambda: details(made))


@providers.command("set-key")
@remote
async def set_key(session: Session, name: Name, *, key: Key = "-") -> None:
    """Set the API key of a provider, so that its models can be used.

    Example: aperag models providers set-key openai < key.txt
    """
    changed = await models.change_provider(session.api.http, name, {"api_key": _key(key)})
    session.printer.whole(changed, lambda: details(changed))


@providers.command("disable")
@remote
async def disable(session: Session, name: Name) -> None:
    """Delete the API key of a provider: its models can no longer be used."""
    changed = await models.change_provider(session.api.http, name, {"status": "disable"})
    session.printer.whole(changed, lambda: details(changed))


@providers.command("delete")
@remote
async def delete_provider(session: Session, name: Name, *, yes: Yes = False) -> None:
    """Delete a provider with its models."""
    confirm(f"Delete the provider {name} with all of its models?", yes=yes)
    if not await models.delete_provider(session.api.http, name):
        message = f"there is no provider {name}"
        raise NotFound(message, hint="`aperag models providers list` shows all of them")
    session.printer.note(f"Deleted {name}.")


def _parts(model: str) -> tuple[str, str]:
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        message = f"{model!r} is not a model: write it as PROVIDER/MODEL"
        raise typer.BadParameter(message, param_hint="PROVIDER/MODEL")
    return provider, name


def _key(given: str | None) -> str | None:
    """A key on the command line is seen by who lists processes: it may be piped, or typed unseen."""
    if given != "-":
        return given
    if sys.stdin.isatty():
        return str(typer.prompt("API key", hide_input=True, err=True)).strip()
    return sys.stdin.read().strip()
