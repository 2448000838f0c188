"""The command line of the benchmarks."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bench.corpora.choose import SCIFACT
from bench.errors import BenchError
from bench.footprint import run as footprint_run
from bench.ingest import run as ingest_run
from bench.quality import run as quality_run
from bench.report import render
from bench.report.figures import Findings, Report
from bench.report.machine import this_machine
from bench.search import run as search_run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
progress = Console(stderr=True, soft_wrap=True, highlight=False)

OutputOption = Annotated[render.Output, typer.Option("--output", "-o", help="How to print what was found.")]


def _examples(*commands: str) -> str:
    """As an epilog; Typer keeps only blank lines as ends of lines."""
    return "\n\n".join(commands)


@app.callback(invoke_without_command=True)
def bench(context: typer.Context) -> None:
    """Benchmarks of ApeRAG. Each starts a stack of its own and removes it at the end."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog=_examples(
        "just bench ingest",
        "just bench ingest --corpus scifact --documents 0 -o json",
        "just bench ingest --corpus long --documents 100 --indexers 2",
        "just bench ingest --corpus ./my-documents --concurrency 16",
    )
)
def ingest(
    *,
    corpus: Annotated[str, typer.Option(help="scifact, documents, long, generated, or a folder.")] = "scifact",
    documents: Annotated[
        int | None, typer.Option(help="Documents of the corpus; 0 = all.", min=0, show_default="1000, of long 200")
    ] = None,
    singles: Annotated[int, typer.Option(help="Documents uploaded one at a time.", min=1)] = 100,
    concurrency: Annotated[int, typer.Option(help="Uploads at a time.", min=1)] = 8,
    indexers: Annotated[int, typer.Option(help="Indexer processes.", min=1, max=64)] = 1,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Documents over HTTP: latency, throughput, CPU and memory, beside the same work without services."""
    options = ingest_run.Options(corpus, documents, singles, concurrency, indexers)
    _run("ingest", lambda: ingest_run.run(options, tell=_tell), output)


@app.command(
    epilog=_examples(
        "just bench search", "just bench search --chunks 20000 --searches 500", "just bench search -o json"
    )
)
def search(
    *,
    chunks: Annotated[
        int, typer.Option(help="Chunks of the large collection.", min=search_run.SMALL)
    ] = search_run.LARGE,
    searches: Annotated[int, typer.Option(help="Searches measured per cell.", min=10)] = 200,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Searches over HTTP: each leg and both, by one client and by eight, in collections of three sizes."""
    options = search_run.Options(chunks, searches)
    _run("search", lambda: search_run.run(options, tell=_tell), output)


@app.command(
    epilog=_examples(
        "just bench quality",
        "just bench quality ../shared/data/retrieval/cmrc --queries 1000",
        "just bench quality ./my-set -o json",
    )
)
def quality(
    folder: Annotated[
        Path, typer.Argument(help="Holds corpus.jsonl, queries.jsonl and qrels/*.tsv.", show_default="scifact")
    ] = SCIFACT,
    *,
    queries: Annotated[int, typer.Option(help="Queries asked; 0 = all.", min=0)] = 0,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Rankings over HTTP, judged: nDCG@10 and Recall@100 of each leg and both."""
    options = quality_run.Options(folder.resolve(), queries)
    _run("quality", lambda: quality_run.run(options, tell=_tell), output)


@app.command(epilog=_examples("just bench footprint", "just bench footprint --settle 60 --watch 60 -o json"))
def footprint(
    *,
    settle: Annotated[int, typer.Option(help="Seconds of quiet before anything is measured.", min=0)] = 30,
    watch: Annotated[int, typer.Option(help="Seconds of looking at the CPU.", min=1)] = 20,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Starts and rest: seconds until ready, memory and CPU of a stack that nobody uses."""
    options = footprint_run.Options(settle, watch)
    _run("footprint", lambda: footprint_run.run(options, tell=_tell), output)


def _tell(what: str) -> None:
    progress.print(f"{what} …", markup=False)


def _run(benchmark: str, measure: Callable[[], Coroutine[None, None, Findings]], output: render.Output) -> None:
    """What a person can mend is one message, never a stack trace."""
    machine = this_machine()
    try:
        found = asyncio.run(measure())
    except BenchError as err:
        progress.print(f"bench: {err}\n{err.hint}", markup=False)
        raise typer.Exit(1) from err
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    render.show(Console(), Report(benchmark, command, machine, found), output)
