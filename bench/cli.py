"""The command line of the benchmarks."""

from __future__ import annotations

import asyncio
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer
from rich.console import Console

from aperag_common import logs
from bench.chaos import run as chaos_run
from bench.corpora.choose import SCIFACT
from bench.dispatch import run as dispatch_run
from bench.dispatch.rivals import ALL, Rival, named
from bench.errors import BenchError
from bench.fairness import run as fairness_run
from bench.footprint import run as footprint_run
from bench.gateway import run as gateway_run
from bench.ingest import run as ingest_run
from bench.mcp import run as mcp_run
from bench.outside import run as outside_run
from bench.pipeline import run as pipeline_run
from bench.quality import run as quality_run
from bench.report import render
from bench.report.figures import Findings, Report
from bench.report.machine import this_machine
from bench.search import run as search_run
from bench.stream import run as stream_run
from bench.webhooks import run as webhooks_run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
progress = Console(stderr=True, soft_wrap=True, highlight=False)


class Baseline(StrEnum):
    """What the whole pipeline can be held against."""

    CELERY = "celery"


class WorkSettings(StrEnum):
    """How soon what a dead process held is taken over."""

    PRODUCTION = "production"
    FAST = "fast"


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


@app.command(epilog=_examples("just bench webhooks", "just bench webhooks --events 1000 -o json"))
def webhooks(
    *,
    events: Annotated[int, typer.Option(min=1, help="Events that are measured.")] = 200,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """How long after an event its webhook is called, on a stack that rests."""
    _run("webhooks", lambda: webhooks_run.run(webhooks_run.Options(events), tell=_tell), output)


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


@app.command(
    epilog=_examples("just bench stream", "just bench stream --seconds 30 -o json", "just bench stream --no-redis")
)
def stream(
    *,
    seconds: Annotated[float, typer.Option(help="How long each load lasts.", min=1, max=300)] = 10,
    redis: Annotated[bool, typer.Option("--redis/--no-redis", help="Compare with Redis' channels.")] = True,
    knee: Annotated[bool, typer.Option("--knee/--no-knee", help="Raise the load until it is too much.")] = True,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """From an agent's word to its reader: our subjects, a queue in the process, and Redis' channels."""
    options = stream_run.Options(seconds, redis, knee)
    _run("stream", lambda: stream_run.run(options, tell=_tell), output)


@app.command(epilog=_examples("just bench gateway", "just bench gateway --requests 10000 -o json"))
def gateway(
    *,
    requests: Annotated[int, typer.Option(help="GETs per cell; a tenth of it searches and uploads.", min=100)] = 4000,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Requests to the gateway: latency, rate and CPU, beside a FastAPI application that does nothing."""
    _run("gateway", lambda: gateway_run.run(gateway_run.Options(requests), tell=_tell), output)


@app.command(epilog=_examples("just bench mcp", "just bench mcp --searches 1000 -o json"))
def mcp(
    *,
    chunks: Annotated[int, typer.Option(help="Chunks of the collection.", min=mcp_run.TOPK, max=5_000)] = 1000,
    searches: Annotated[int, typer.Option(help="Searches measured each way.", min=10)] = 300,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Searches by REST and by MCP, in turns: what MCP adds."""
    options = mcp_run.Options(chunks, searches)
    _run("mcp", lambda: mcp_run.run(options, tell=_tell), output)


@app.command(
    epilog=_examples(
        "just bench dispatch --vs all",
        "just bench dispatch --vs celery,pgqueuer",
        "just bench dispatch --tasks 20000 --processes 4",
    )
)
def dispatch(
    *,
    vs: Annotated[
        list[str] | None,
        typer.Option(
            help=f"The same tasks through {', '.join(Rival)}, or all of them: several with commas, or said again."
        ),
    ] = None,
    tasks: Annotated[int, typer.Option(help="Tasks enqueued and then drained.", min=1)] = 4000,
    trips: Annotated[int, typer.Option(help="Round trips, by one caller and again by several.", min=1)] = 300,
    processes: Annotated[int, typer.Option(help="Worker processes of each lane.", min=1, max=64)] = 2,
    rounds: Annotated[int, typer.Option(help="Times that all of it is measured, in turns.", min=1)] = 3,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Tasks that do nothing, or wait: over the bus alone, and with claim and fence."""
    options = dispatch_run.Options(tasks, trips, processes, rounds, _rivals(vs or []))
    _run("dispatch", lambda: dispatch_run.run(options, tell=_tell), output)


@app.command(epilog=_examples("just bench pipeline --vs celery", "just bench pipeline --documents 1000"))
def pipeline(
    *,
    vs: Annotated[
        Baseline | None, typer.Option(help="The same work through Celery 5 with Redis, in the same run.")
    ] = None,
    corpus: Annotated[str, typer.Option(help="As for ingest.")] = "scifact",
    documents: Annotated[int, typer.Option(help="Documents of the corpus.", min=2)] = 400,
    cap: Annotated[float, typer.Option(help="After a kill: seconds without progress that end the wait.", min=1)] = 90,
    visibility: Annotated[float, typer.Option(help="Celery's tuned visibility timeout, seconds.", min=1)] = 10,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Documents through our services and through Celery, which calls the same functions; and after kill -9."""
    options = pipeline_run.Options(corpus, documents, vs is Baseline.CELERY, cap, visibility)
    _run("pipeline", lambda: pipeline_run.run(options, tell=_tell), output)


@app.command(epilog=_examples("just bench chaos", "just bench chaos --docs 1000 --kills 60 --seed 7 --wipe -o json"))
def chaos(
    *,
    docs: Annotated[int, typer.Option(help="Documents uploaded over HTTP.", min=10)] = 1000,
    kills: Annotated[int, typer.Option(help="Processes killed with -9.", min=1)] = 60,
    seed: Annotated[int, typer.Option(help="Decides what is killed when, and what is asked of whom.")] = 1,
    wipe: Annotated[bool, typer.Option("--wipe", help="Delete the store of JetStream once.")] = False,
    work_settings: Annotated[
        WorkSettings, typer.Option(help="Leases and due times: as in production, or short.")
    ] = WorkSettings.PRODUCTION,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for logs and rows, written where a promise was broken.")
    ] = None,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """An ingest while processes are killed: what was lost, doubled, left behind or stuck. Fails where anything was."""
    options = chaos_run.Options(docs, kills, seed, wipe, work_settings is WorkSettings.FAST, keep)
    _run("chaos", lambda: chaos_run.run(options, tell=_tell), output)


@app.command(epilog=_examples("just bench outside", "just bench outside --events 2000 --kills 20 --seed 7 -o json"))
def outside(
    *,
    events: Annotated[
        int, typer.Option(help="Events of another service, and as many again while processes die.", min=10)
    ] = 500,
    kills: Annotated[int, typer.Option(help="Processes killed with -9.", min=0)] = 8,
    seed: Annotated[int, typer.Option(help="Decides what is sent in which order, and what is killed when.")] = 1,
    singles: Annotated[int, typer.Option(help="Events and uploads measured one at a time.", min=1)] = 30,
    work_settings: Annotated[
        WorkSettings, typer.Option(help="Leases and due times: as in production, or short.")
    ] = WorkSettings.FAST,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """Events of another service: how soon they are searchable, and that none is lost or doubled while processes die."""
    options = outside_run.Options(events, kills, seed, singles, work_settings is WorkSettings.FAST)
    _run("outside", lambda: outside_run.run(options, tell=_tell), output)


@app.command(
    epilog=_examples(
        "just bench fairness",
        "just bench fairness --queued 1000 --trials 10 -o json",
        "just bench fairness --failing 10000",
    )
)
def fairness(
    *,
    queued: Annotated[int, typer.Option(help="Documents of one owner that stand in the queue.", min=100)] = 5000,
    trials: Annotated[int, typer.Option(help="Single documents of another owner.", min=1)] = 20,
    indexers: Annotated[int, typer.Option(help="Indexer processes.", min=1, max=64)] = 1,
    failing: Annotated[
        int, typer.Option(help="Instead of documents: webhook deliveries that fail.", min=0, max=100_000)
    ] = 0,
    output: OutputOption = render.Output.TABLE,
) -> None:
    """One owner's work in the queue, another's single document: how long until it is searchable."""
    options = fairness_run.Options(queued, trials, indexers, failing)
    _run("fairness", lambda: fairness_run.run(options, tell=_tell), output)


def _rivals(words: list[str]) -> list[Rival]:
    try:
        return named(words)
    except ValueError as err:
        message = f"{err}; choose from {', '.join([*Rival, ALL])}"
        raise typer.BadParameter(message, param_hint="--vs") from err


def _tell(what: str) -> None:
    progress.print(f"{what} …", markup=False)


def _run(benchmark: str, measure: Callable[[], Coroutine[None, None, Findings]], output: render.Output) -> None:
    """What a person can mend is one message, never a stack trace."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is the report's
    machine = this_machine()
    # What our own code logs in this process is progress, too: the report alone goes to stdout.
    logs.configure("WARNING", json=False, service="bench")
    try:
        found = asyncio.run(measure())
    except BenchError as err:
        progress.print(f"bench: {err}\n{err.hint}", markup=False)
        raise typer.Exit(1) from err
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    render.show(Console(), Report(benchmark, command, machine, found), output)
    if found.failed:
        raise typer.Exit(1)
