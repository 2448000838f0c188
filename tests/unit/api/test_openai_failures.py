"""What OpenAI's clients are told of a request that is wrong."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from aperag_api.conversation.openai.schemas import CompletionRequest
from aperag_api.kernel.openai_failures import invalid_body


def test_a_body_that_is_no_json_names_the_character_and_no_parameter() -> None:
    told = invalid_body({"type": "json_invalid", "loc": ("body", 42), "msg": "JSON decode error"})
    assert told["error"]["message"] == "The body is no JSON, from character 42 on"
    assert told["error"]["param"] is None


def test_a_parameter_that_is_wrong_is_named() -> None:
    with pytest.raises(ValidationError) as invalid:
        CompletionRequest.model_validate({"model": "m", "messages": [{"role": "user", "content": [{"type": 3}]}]})
    found = invalid.value.errors()[0]
    told = invalid_body({**found, "loc": ("body", *found["loc"])})
    assert told["error"]["param"] == ".".join(map(str, found["loc"]))
    assert told["error"]["message"].startswith(f"{told['error']['param']}: ")
    assert told["error"]["type"] == "invalid_request_error"
