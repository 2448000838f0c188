"""The tools, resources and prompts that the public conformance suite calls; none of them is part of the product."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import mcp_types as types
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.prompts import Message, PromptResult
from fastmcp.tools import Tool, ToolResult
from pydantic import AnyUrl

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
SILENCE = base64.b64decode("UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=")
STEP_SECONDS = 0.05
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}


def register(mcp: FastMCP) -> None:
    for tool in (
        test_simple_text,
        test_image_content,
        test_audio_content,
        test_embedded_resource,
        test_multiple_content_types,
        test_tool_with_logging,
        test_error_handling,
        test_tool_with_progress,
    ):
        mcp.tool(tool, output_schema=None)
    mcp.add_tool(
        SchemaTool(name="json_schema_2020_12_tool", description="A schema with definitions", parameters=SCHEMA)
    )
    mcp.resource("test://static-text", mime_type="text/plain")(static_text)
    mcp.resource("test://static-binary", mime_type="image/png")(static_binary)
    mcp.resource("test://template/{id}/data", mime_type="application/json")(template)
    for prompt in (
        test_simple_prompt,
        test_prompt_with_arguments,
        test_prompt_with_embedded_resource,
        test_prompt_with_image,
    ):
        mcp.prompt(prompt)
    mcp.completion(complete)


class SchemaTool(Tool):
    """A tool whose input schema is given as it is."""

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        return ToolResult(content=f"called with {arguments}")


def test_simple_text() -> str:
    """A text."""
    return "This is a simple text response for testing."


def test_image_content() -> types.ImageContent:
    """A picture."""
    return _image()


def test_audio_content() -> types.AudioContent:
    """A sound."""
    return types.AudioContent(type="audio", data=base64.b64encode(SILENCE).decode(), mime_type="audio/wav")


def test_embedded_resource() -> types.EmbeddedResource:
    """A resource within the answer."""
    return _embedded("test://embedded-resource", "This is an embedded resource content.")


def test_multiple_content_types() -> list[Any]:
    """A text, a picture and a resource."""
    text = types.TextContent(type="text", text="Multiple content types test:")
    return [
        text,
        _image(),
        _embedded("test://mixed-content-resource", '{"test": "data", "value": 123}', "application/json"),
    ]


async def test_tool_with_logging(ctx: Context) -> str:
    """Log messages while it works."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(line)
        await asyncio.sleep(STEP_SECONDS)
    return "Tool with logging executed successfully"


def test_error_handling() -> str:
    """A failure of the tool."""
    message = "This tool intentionally returns an error for testing"
    raise ToolError(message)


async def test_tool_with_progress(ctx: Context) -> str:
    """Progress while it works."""
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100, f"Completed step {progress} of 100")
        await asyncio.sleep(STEP_SECONDS)
    return "done"


def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


def static_binary() -> bytes:
    """A picture."""
    return PIXEL


def template(id: str) -> str:  # noqa: A002  the suite's name
    """Data of an id."""
    return f'{{"id": "{id}", "templateTest": true, "data": "Data for ID: {id}"}}'


def test_simple_prompt() -> str:
    """A prompt without arguments."""
    return "This is a simple prompt for testing."


def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


def test_prompt_with_embedded_resource(resourceUri: str) -> PromptResult:  # noqa: N803  the suite's name
    """A prompt with a resource in it."""
    embedded = _embedded(resourceUri, "Embedded resource content for testing.")
    return PromptResult(messages=[Message(embedded), Message("Please process the embedded resource above.")])


def test_prompt_with_image() -> PromptResult:
    """A prompt with a picture in it."""
    return PromptResult(messages=[Message(_image()), Message("Please analyze the image above.")])


def complete(_ref: Any, argument: types.CompletionArgument, _context: Any) -> list[str]:
    return [value for value in ("paris", "park", "party") if value.startswith(argument.value)]


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=base64.b64encode(PIXEL).decode(), mime_type="image/png")


def _embedded(uri: str, text: str, mime: str = "text/plain") -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=str(AnyUrl(uri)), mime_type=mime, text=text)
    return types.EmbeddedResource(type="resource", resource=contents)
