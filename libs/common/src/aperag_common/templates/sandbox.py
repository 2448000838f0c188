"""Templates that strangers write, compiled and rendered; runs in a process of the pool.

Compiling counts too: it computes what is constant. So nothing of a stranger's template is touched outside of such a
process, and there its computing time, memory and output are limited.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import StrictUndefined, TemplateError, TemplateRuntimeError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from jinja2 import Template
    from jinja2.runtime import Context

CPU_SECONDS = 2.0
MEMORY = 256 * 1024**2
"""Beyond what the process holds when its first template comes."""

NICENESS = 10

MOST_BITS = 100_000
"""Of a number: what computes a single one cannot be interrupted."""

MOST_OUTPUT = 256 * 1024
LONGEST_REASON = 300

_BROKEN = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, SyntaxError)


class Examined(NamedTuple):
    """``problem`` is why it is no template; ``variables`` are those that it takes from outside."""

    problem: str | None
    variables: frozenset[str] = frozenset()


class Rendered(NamedTuple):
    """One of both is None."""

    text: str | None
    problem: str | None


class _TooSlow(Exception):
    pass


class _Environment(ImmutableSandboxedEnvironment):
    """No loader, and of the globals only ``range``, which is bounded."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, optimized=False)
        self.globals = {"range": self.globals["range"]}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > MOST_BITS:
                raise TemplateRuntimeError("a number in it is too large")
        return super().call_binop(context, operator, left, right)


def begin() -> None:
    """A template that unfolds without end must end in an error of its own, not of the machine; others work first."""
    os.nice(NICENESS)
    with contextlib.suppress(ValueError, OSError):  # not every system lets a process limit itself, or says its size
        held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = held + MEMORY if hard == resource.RLIM_INFINITY else min(held + MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def examine(template: str) -> Examined:
    environment = _Environment()
    try:
        with _bounded():
            environment.from_string(template)
            found = meta.find_undeclared_variables(environment.parse(template))
    except Exception as err:  # noqa: BLE001  whatever a template brings about is its own fault
        return Examined(_reason(err))
    return Examined(None, frozenset(found - {"range"}))


def render(template: str, variables: Mapping[str, Any]) -> Rendered:
    try:
        with _bounded():
            return _joined(_Environment().from_string(template), variables)
    except Exception as err:  # noqa: BLE001  as above
        return Rendered(None, _reason(err))


def render_built_in(template: str, variables: Mapping[str, Any]) -> Rendered:
    """Of a template that came with the product: compiled once, in the caller's process, without a time limit."""
    return _joined(_built_in(template), variables)


@lru_cache(maxsize=16)
def _built_in(template: str) -> Template:
    return _Environment().from_string(template)


def _joined(template: Template, variables: Mapping[str, Any]) -> Rendered:
    pieces: list[str] = []
    left = MOST_OUTPUT
    for piece in template.generate(dict(variables)):
        left -= len(piece)
        if left < 0:
            return Rendered(None, f"it renders to more than {MOST_OUTPUT} characters")
        pieces.append(piece)
    return Rendered("".join(pieces), None)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """By computing time: on a busy machine a template waits, and that is not its fault."""

    def expire(_: int, __: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _reason(err: Exception) -> str:
    if isinstance(err, _TooSlow):
        return f"it computes for longer than {CPU_SECONDS:.0f} s"
    if isinstance(err, MemoryError):
        return f"it needs more than {MEMORY // 1024**2} MiB of memory"
    if isinstance(err, RecursionError):
        return "it is nested too deeply"
    line = getattr(err, "lineno", None)
    told = " ".join(str(err).split())[:LONGEST_REASON] if isinstance(err, _BROKEN) else ""
    return f"{f'line {line}: ' if line else ''}{told or type(err).__name__}"
