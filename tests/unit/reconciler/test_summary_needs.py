"""When a collection's summary is added, removed or made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aperag_reconciler.summaries.diff import Need, Patience, diff
from aperag_reconciler.summaries.observe import Observed

PATIENCE = Patience(quiet=30, longest=600)
SAME = Observed("col", True, "ACTIVE", 1, "2-a", 100.0, "2-a")
CHANGED = replace(SAME, contents="3-b", changed_ago=40.0)


@pytest.mark.parametrize(
    ("observed", "need"),
    [
        pytest.param(replace(SAME, status=None, contents=None), Need.ADD, id="wanted and not there"),
        pytest.param(replace(SAME, wanted=False), Need.REMOVE, id="there and not wanted"),
        pytest.param(replace(SAME, wanted=False, status=None), Need.NOTHING, id="neither"),
        pytest.param(SAME, Need.NOTHING, id="the same documents"),
        pytest.param(replace(SAME, status="CREATING", contents=None), Need.NOTHING, id="being made"),
        pytest.param(CHANGED, Need.RENEW, id="changed, then quiet"),
        pytest.param(replace(CHANGED, changed_ago=29.0), Need.NOTHING, id="still changing"),
        pytest.param(replace(CHANGED, changed_ago=1.0, settled_ago=600.0), Need.RENEW, id="changing for too long"),
        pytest.param(replace(CHANGED, changed_ago=None), Need.RENEW, id="all documents gone"),
        pytest.param(replace(CHANGED, changed_ago=-5.0), Need.NOTHING, id="a clock that was set back"),
        pytest.param(replace(CHANGED, summarized=None), Need.RENEW, id="never made of anything"),
        pytest.param(
            replace(CHANGED, status="FAILED", changed_ago=150.0), Need.NOTHING, id="failed with these documents"
        ),
        pytest.param(replace(CHANGED, status="FAILED", changed_ago=40.0), Need.RENEW, id="failed, changed since"),
        pytest.param(replace(CHANGED, status="FAILED", changed_ago=None), Need.NOTHING, id="failed, no change seen"),
    ],
)
def test_a_summary_follows_its_documents(observed: Observed, need: Need) -> None:
    assert diff(observed, PATIENCE) is need
