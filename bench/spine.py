"""Ready time, memory, and the idle way from an upload to a search that finds it, on a stack of its own.

    ./justw bench spine [--documents N] [--bulk N] [-o json]

Idle means one document at a time; bulk means eight uploads at a time, one document each. The load client runs on the
same cores. Memory is PSS, by process, after the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import psutil

APERAG = Path(sys.executable).with_name("aperag")
WORDS = (
    "river harbour tide moon coffee roast bean bicycle wheel gear protein signal cell market price city wall bridge "
    "winter harvest field engine valve steam paper ink press letter song string drum stage light lens mirror"
).split()
WORDS_PER_PAGE = 340


def aperag(home: Path, *arguments: str) -> str:
    environment = {**os.environ, "APERAG_HOME": str(home)}
    done = subprocess.run([str(APERAG), *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def start(home: Path) -> tuple[float, dict[str, Any]]:
    """Seconds until ready, and the stack's state."""
    started = time.monotonic()
    aperag(home, "up", "--detach", "--port", "0")
    seconds = time.monotonic() - started
    return seconds, json.loads(aperag(home, "status", "-o", "json"))


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def page(number: int) -> tuple[str, str]:
    """A token nothing else holds, and a page that begins with it."""
    token = f"token{time.time_ns()}"
    chosen = random.Random(number).choices(WORDS, k=WORDS_PER_PAGE)
    return token, f"# {token}\n\n{' '.join(chosen)}\n"


async def one_document(client: httpx.AsyncClient, collection: str, number: int) -> tuple[float, float]:
    """Milliseconds of the POST, and from its begin until a search in both indexes answers with the document."""
    token, text = page(number)
    started = time.perf_counter()
    answer = await client.post(f"/collections/{collection}/documents", files={"files": (f"{token}.md", text.encode())})
    answer.raise_for_status()
    posted = time.perf_counter()
    document = answer.json()["items"][0]["id"]
    request = {
        "query": token,
        "vector_search": {"topk": 5, "similarity": 0},
        "fulltext_search": {"topk": 1},
        "save_to_history": False,
        "wait_for": [document],
        "wait_ms": 10_000,
    }
    found = await client.post(f"/collections/{collection}/searches", json=request)
    found.raise_for_status()
    ended = time.perf_counter()
    if not any(item["metadata"]["document_id"] == document for item in found.json()["items"]):
        message = f"document {document} was not found: {found.json().get('not_searchable')}"
        raise RuntimeError(message)
    return (posted - started) * 1000, (ended - started) * 1000


async def latencies(url: str, key: str, documents: int) -> tuple[list[float], list[float]]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", headers=headers, timeout=30) as client:
        body = {"title": "bench", "type": "document", "description": "", "config": {}}
        collection = (await client.post("/collections", json=body)).raise_for_status().json()["id"]
        for number in range(5):  # the first loads the encoder of the gateway
            await one_document(client, collection, -number)
        measured = [await one_document(client, collection, number) for number in range(documents)]
    return [posts for posts, _ in measured], [ways for _, ways in measured]


async def bulk(url: str, key: str, documents: int) -> dict[str, float]:
    """Documents per second that were accepted, and that had become searchable when the last one had."""
    headers = {"Authorization": f"Bearer {key}"}
    slots = asyncio.Semaphore(8)
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", headers=headers, timeout=60) as client:
        body = {"title": "bulk", "type": "document", "description": "", "config": {}}
        collection = (await client.post("/collections", json=body)).raise_for_status().json()["id"]
        path = f"/collections/{collection}/documents"

        async def upload(number: int) -> None:
            token, text = page(number)
            async with slots:
                files = {"files": (f"{token}-{number}.md", text.encode())}
                (await client.post(path, files=files)).raise_for_status()

        started = time.perf_counter()
        await asyncio.gather(*(upload(number) for number in range(documents)))
        accepted = time.perf_counter()
        while await _unfinished(client, path):
            await asyncio.sleep(0.2)
        ended = time.perf_counter()
    return {
        "accepted_per_second": round(documents / (accepted - started), 1),
        "searchable_per_second": round(documents / (ended - started), 1),
    }


async def _unfinished(client: httpx.AsyncClient, path: str) -> bool:
    """The first and the last status in their order are the same when all are."""
    for order in ("asc", "desc"):
        parameters = {"page_size": 1, "sort_by": "status", "sort_order": order}
        listed = (await client.get(path, params=parameters)).raise_for_status().json()
        if listed["items"][0]["status"] != "COMPLETE":
            return True
    return False


def memory(supervisor: int) -> dict[str, float]:
    """PSS in MB of everything below the supervisor, by program."""
    root = psutil.Process(supervisor)
    found: dict[str, float] = defaultdict(float)
    found["supervisor"] = root.memory_full_info().pss / 1e6
    for child in root.children(recursive=True):
        command = child.cmdline()
        module = next((part for part in command if part.startswith("aperag_")), "")
        pool = "spawn_main" in " ".join(command) or "multiprocessing" in " ".join(command)
        name = "pool workers" if pool else module or child.name()
        found[name] += child.memory_full_info().pss / 1e6
    return dict(sorted(found.items()))


def measure(documents: int, bulk_documents: int) -> dict[str, Any]:
    home = Path(tempfile.mkdtemp(prefix="aperag-bench-"))
    try:
        cold, state = start(home)
        aperag(home, "down")
        warm, state = start(home)
        key = (home / "secrets" / "api_key").read_text(encoding="utf-8").strip()
        posts, ways = asyncio.run(latencies(state["api_url"], key, documents))
        rates = asyncio.run(bulk(state["api_url"], key, bulk_documents))
        resident = memory(state["pid"])
        aperag(home, "down")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return {
        "ready_seconds": {"first start": round(cold, 2), "second start": round(warm, 2)},
        "post_ms": {"p50": round(percentile(posts, 0.5), 1), "p95": round(percentile(posts, 0.95), 1)},
        "upload_to_searchable_ms": {
            "p50": round(percentile(ways, 0.5), 1),
            "p95": round(percentile(ways, 0.95), 1),
            "max": round(max(ways), 1),
        },
        "documents": documents,
        "bulk": {"documents": bulk_documents, **rates},
        "pss_mb": {name: round(value) for name, value in resident.items()},
        "pss_mb_sum": round(sum(resident.values())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--bulk", type=int, default=300)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    result = measure(options.documents, options.bulk)
    if options.output == "json":
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        print(f"{name:26} {json.dumps(value) if isinstance(value, dict) else value}")


if __name__ == "__main__":
    main()
