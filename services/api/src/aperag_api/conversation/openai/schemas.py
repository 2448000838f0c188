"""Requests and answers of OpenAI's chat completions, as far as there is something here that they mean."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aperag_api.kernel.validation import RequestBody
from aperag_common import errors

MODEL = "aperag"
MOST_MESSAGES = 1000


class ContentPart(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    text: str | None = None


class Message(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None

    @property
    def text(self) -> str:
        """Raises ``InvalidParameter`` for parts that are no text."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        if other := [part.type for part in self.content if part.type != "text"]:
            message = f"messages: a part of the type {other[0][:40]!r} is not understood here, only text is"
            raise errors.InvalidParameter(message)
        return "\n".join(part.text or "" for part in self.content)


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class CompletionRequest(RequestBody):
    """What is not named here is accepted and changes nothing."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(MODEL, max_length=256)
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1, le=10_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=10_000_000)
    n: int | None = Field(None, ge=1, le=128)
    tools: list[Any] | None = None
    functions: list[Any] | None = None


class Usage(BaseModel):
    """Tokens as the provider counted them; 0 where it did not say, or no provider was asked."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: Literal["stop"] = "stop"


class Completion(BaseModel):
    """``references`` is ours: what the answer rests on."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str = MODEL
    choices: list[Choice]
    usage: Usage
    references: list[dict[str, Any]] = []


class Failure(BaseModel):
    """``code`` is stable, ``message`` is for people; ``param`` names what is wrong with the request."""

    message: str
    type: str
    param: str | None
    code: str | None


class Failed(BaseModel):
    error: Failure


class Model(BaseModel):
    """A bot; ``title`` is ours."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = MODEL
    title: str


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]
