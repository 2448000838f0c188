"""Docstrings as published text."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any


def text(docstring: str) -> str:
    """Lines of a paragraph joined, names in Markdown's backticks."""
    paragraphs = cleandoc(docstring).split("\n\n")
    return "\n\n".join(" ".join(it.split()) for it in paragraphs).replace("``", "`")


def plain(schema: Any) -> Any:
    """The same schema with its descriptions as ``text``, without the titles that repeat names."""
    if isinstance(schema, list):
        return [plain(it) for it in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: plain(it) for name, it in schema.items() if not (name == "title" and isinstance(it, str))}
    if isinstance(found.get("description"), str):
        found["description"] = text(found["description"])
    return found
