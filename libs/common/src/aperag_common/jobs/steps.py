"""What is done with a document, step by step."""

from __future__ import annotations

from enum import StrEnum


class StepKind(StrEnum):
    """Steps of a workflow: ``parse`` feeds the indexes. Graph, summary and vision have no worker yet."""

    PARSE = "parse"
    VECTOR = "vector"
    FULLTEXT = "fulltext"
    GRAPH = "graph"
    SUMMARY = "summary"
    VISION = "vision"

    @property
    def job(self) -> str:
        """The name of the job kind that does it."""
        return self.value if self is StepKind.PARSE else f"index.{self.value}"


INDEX_STEPS = tuple(kind for kind in StepKind if kind is not StepKind.PARSE)
