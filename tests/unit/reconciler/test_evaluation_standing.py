"""What an evaluation's items say of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aperag_reconciler.evaluations.decide import Items, Standing, standing

RUNNING = Standing("RUNNING", None, 4, 0, None)
ALL = Items(total=4, ended=4, failed=0, average=3.5)


@pytest.mark.parametrize(
    ("now", "items", "wanted"),
    [
        pytest.param(RUNNING, Items(4, 1, 0, 5.0), replace(RUNNING, completed_questions=1, average_score=5.0), id="some"),
        pytest.param(RUNNING, ALL, Standing("COMPLETED", None, 4, 4, 3.5), id="all"),
        pytest.param(
            RUNNING,
            replace(ALL, failed=1),
            Standing("FAILED", "1 of 4 questions failed; retry them, or look at their answers.", 4, 4, 3.5),
            id="all, one failed",
        ),
        pytest.param(RUNNING, replace(ALL, failed=4, average=None),
                     Standing("FAILED", "4 of 4 questions failed; retry them, or look at their answers.", 4, 4, None),
                     id="none was judged"),
        pytest.param(replace(RUNNING, status="PENDING"), Items(0, 0, 0, None), replace(RUNNING, status="PENDING"),
                     id="questions not made yet"),
        pytest.param(replace(RUNNING, status="PAUSED"), Items(4, 2, 0, 2.0), Standing("PAUSED", None, 4, 2, 2.0),
                     id="paused stays paused"),
        pytest.param(replace(RUNNING, status="PAUSED"), ALL, Standing("COMPLETED", None, 4, 4, 3.5),
                     id="paused, but the last ones in flight have ended"),
        pytest.param(Standing("FAILED", "lost", 4, 4, 1.0), Items(4, 3, 0, 2.0), Standing("RUNNING", None, 4, 3, 2.0),
                     id="ended, but a question waits again"),
    ],
)  # fmt: skip
def test_an_evaluation_says_what_its_items_say(now: Standing, items: Items, wanted: Standing) -> None:
    assert standing(now, items) == wanted
    assert standing(wanted, items) == wanted
