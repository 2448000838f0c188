"""A gateway's own OpenAPI description, and which of its answers do not keep to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    import httpx


@dataclass(slots=True)
class Description:
    """``document`` as ``/openapi.json`` answers it; ``deviations`` grows with every answer that was ``seen``."""

    document: dict[str, Any]
    deviations: list[str] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)

    async def seen(self, response: httpx.Response) -> None:
        """A hook of httpx; a stream is left to its reader, only its head is judged."""
        request = response.request
        template = self._template(request.url.path, request.method.lower())
        self.operations.add(f"{request.method} {template}")
        for wrong in [it async for it in self._wrong(response, template)]:
            self.deviations.append(f"{request.method} {template}, {response.status_code}: {wrong}")

    async def _wrong(self, response: httpx.Response, template: str) -> Any:
        described = self.document["paths"][template][response.request.method.lower()]["responses"]
        if (expected := described.get(str(response.status_code))) is None:
            yield "the status is not described"
            return
        kind = response.headers.get("content-type", "").partition(";")[0]
        contents = expected.get("content", {})
        if kind and contents and kind not in contents:
            yield f"{kind} is not described"
        elif kind == "application/json" and kind in contents:
            await response.aread()
            schema = {"components": self.document["components"], "allOf": [contents[kind]["schema"]]}
            for error in Draft202012Validator(schema).iter_errors(response.json()):
                yield f"{error.json_path}: {error.message[:300]}"

    def _template(self, path: str, method: str) -> str:
        """The one with the fewest variables counts."""
        fitting = [
            template
            for template, operations in self.document["paths"].items()
            if method in operations and re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path)
        ]
        return min(fitting, key=lambda it: it.count("{"))
