"""Flows as clients see them (contract 1.7)."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from aperag_api.kernel.validation import RequestBody
from aperag_common.flows.definition import Flow


class WorkflowDefinition(Flow, RequestBody):
    """Kept as it is posted, with whatever a client adds for itself; it has to be able to run."""


class FlowDebugRequest(RequestBody):
    query: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=32_000)]
