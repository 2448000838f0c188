"""Upkeep of evaluations: stuck questions wait again, and evaluations say what their questions say."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, text

from aperag_common.db.models.evaluation import Evaluation, EvaluationItem
from aperag_reconciler.evaluations.reconcile import Evaluations
from aperag_testing.factories import make_user

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics


@pytest.fixture
def upkeep(engine: AsyncEngine, metrics: Metrics) -> Evaluations:
    return Evaluations(engine, metrics, timedelta(minutes=15))


async def rows(engine: AsyncEngine, sql: str, **parameters: Any) -> list[Any]:
    async with engine.begin() as conn:
        result = await conn.execute(text(sql), parameters)
        return list(result.all()) if result.returns_rows else []


async def evaluation(engine: AsyncEngine, *items: dict[str, Any], status: str = "RUNNING") -> str:
    evaluation_id = f"eval{uuid.uuid4().hex[:16]}"
    plain = {"agent_llm_config": {}, "judge_llm_config": {}, "collection_id": "col", "question_set_id": "qs"}
    async with engine.begin() as conn:
        owner = await make_user(conn)
        await conn.execute(
            insert(Evaluation), [{"id": evaluation_id, "owner": owner, "name": "tests", "status": status, **plain}]
        )
        for item in items:
            question = {"question_id": "q", "question_text": "why?", "ground_truth": "because"}
            item_id = f"item{uuid.uuid4().hex[:16]}"
            await conn.execute(
                insert(EvaluationItem), [{"id": item_id, "evaluation_id": evaluation_id, **question, **item}]
            )
    return evaluation_id


async def one(engine: AsyncEngine, evaluation_id: str) -> Any:
    return (await rows(engine, "SELECT * FROM evaluation WHERE id = :id", id=evaluation_id))[0]


def judged(score: int) -> dict[str, Any]:
    return {"status": "COMPLETED", "llm_judge_score": score}


async def test_a_question_whose_runner_is_gone_waits_again(engine: AsyncEngine, upkeep: Evaluations) -> None:
    evaluation_id = await evaluation(engine, {"status": "RUNNING"}, {"status": "RUNNING"}, judged(4))
    await rows(engine, "UPDATE evaluation_item SET started_at = clock_timestamp() WHERE status = 'RUNNING'")
    await rows(
        engine,
        """
        UPDATE evaluation_item SET started_at = clock_timestamp() - interval '16 min'
        WHERE id = (SELECT min(id) FROM evaluation_item WHERE status = 'RUNNING')
        """,
    )
    await upkeep.run()
    found = await rows(engine, "SELECT status, started_at FROM evaluation_item ORDER BY status")
    assert [it.status for it in found] == ["COMPLETED", "PENDING", "RUNNING"]
    assert found[1].started_at is None
    after = await one(engine, evaluation_id)
    assert (after.status, after.total_questions, after.completed_questions, after.average_score) == ("RUNNING", 3, 1, 4)


async def test_an_evaluation_ends_when_all_its_questions_have(engine: AsyncEngine, upkeep: Evaluations) -> None:
    good = await evaluation(engine, judged(5), judged(2))
    bad = await evaluation(engine, judged(5), {"status": "FAILED"})
    await upkeep.run()
    assert ((await one(engine, good)).status, (await one(engine, good)).average_score) == ("COMPLETED", 3.5)
    after = await one(engine, bad)
    assert (after.status, after.error_message[:6], after.average_score) == ("FAILED", "1 of 2", 5)


async def test_an_ended_evaluation_whose_question_was_stuck_goes_on(engine: AsyncEngine, upkeep: Evaluations) -> None:
    evaluation_id = await evaluation(engine, {"status": "RUNNING"}, judged(3), status="COMPLETED")
    await rows(engine, "UPDATE evaluation_item SET started_at = clock_timestamp() - interval '1 day'")
    await upkeep.run()
    assert (await one(engine, evaluation_id)).status == "RUNNING"


async def test_what_is_right_or_deleted_is_not_touched(engine: AsyncEngine, upkeep: Evaluations) -> None:
    for status in ("PENDING", "RUNNING", "PAUSED"):
        await evaluation(engine, status=status)
    gone = await evaluation(engine, judged(1))
    await rows(engine, "UPDATE evaluation SET deleted_at = clock_timestamp() WHERE id = :id", id=gone)
    before = await rows(engine, "SELECT * FROM evaluation ORDER BY id")
    await upkeep.run()
    assert await rows(engine, "SELECT * FROM evaluation ORDER BY id") == before


async def test_several_at_once_agree(engine: AsyncEngine, upkeep: Evaluations, metrics: Metrics) -> None:
    for _ in range(5):
        await evaluation(engine, judged(5), judged(3))
    await evaluation(engine, {"status": "PENDING"})
    await asyncio.gather(*(upkeep.run() for _ in range(4)))
    found = await rows(engine, "SELECT status, average_score FROM evaluation ORDER BY status")
    assert [(it.status, it.average_score) for it in found] == [("COMPLETED", 4.0)] * 5 + [("RUNNING", None)]
    counted = {status: metrics.evaluations.labels(status)._value.get() for status in ("COMPLETED", "RUNNING", "FAILED")}
    assert counted == {"COMPLETED": 5, "RUNNING": 1, "FAILED": 0}
