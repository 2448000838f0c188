"""From what a client wrote to a flow; pure."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from aperag_common import errors
from aperag_common.flows.definition import Flow


def read(given: Any) -> Flow:
    """Raises ``BotConfigInvalid``."""
    try:
        return Flow.model_validate(given)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        raise errors.BotConfigInvalid(f"config.flow.{'.'.join(map(str, first['loc']))}: {first['msg']}") from err
