"""The guide for agents as a resource, and the assistant's prompt."""

from __future__ import annotations

from importlib.resources import files

from fastmcp import FastMCP

USAGE_GUIDE = "aperag://usage-guide"
INSTRUCTIONS = (
    "ApeRAG finds passages in collections of documents, by meaning and by words. Start with list_collections, then"
    f" search_collection; read_document gives the text around a passage. The resource {USAGE_GUIDE} explains the rest."
)


def usage_guide() -> str:
    """How to use the tools: finding, reading, adding, and what failures mean."""
    return _text("usage.md")


def search_assistant() -> str:
    """Answer questions from the collections, with their sources."""
    return _text("assistant.md")


def register(mcp: FastMCP) -> None:
    mcp.resource(USAGE_GUIDE, name="usage-guide", title="Usage guide", mime_type="text/markdown")(usage_guide)
    mcp.prompt(search_assistant, title="Search assistant")


def _text(name: str) -> str:
    return files("aperag_mcp.guide").joinpath(name).read_text(encoding="utf-8")
