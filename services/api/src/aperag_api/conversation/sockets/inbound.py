"""From a frame of a client to a question (contract 1.9); pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from aperag_api.conversation.sockets.texts import Problem
from aperag_api.conversation.turns.schemas import AgentMessage
from aperag_common import errors

CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Cancel:
    """``message_id``: of the question that is not to be answered any more; None: of all that were asked here."""

    message_id: str | None


class NotUnderstood(Exception):
    """``detail`` says more than the localised text of the problem can."""

    def __init__(self, problem: Problem, language: str, detail: str = "") -> None:
        super().__init__(detail or problem)
        self.problem = problem
        self.language = language
        self.detail = detail


def read(text: str, *, flow: bool) -> AgentMessage | Cancel:
    """``flow``: of a knowledge or common bot, whose frames say ``data`` or ``message`` instead of ``query``.

    Raises ``NotUnderstood``.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise NotUnderstood(Problem.JSON, "") from err
    if not isinstance(value, dict):
        raise NotUnderstood(Problem.JSON, "")
    if value.get("type") == CANCEL:
        named = value.get("id")
        return Cancel(None if named is None else str(named))
    return _question(value, flow=flow)


def _question(value: dict[str, Any], *, flow: bool) -> AgentMessage:
    language = str(value.get("language") or "en-US")
    asked = {name: value[name] for name in AgentMessage.model_fields if name in value}
    if flow:
        asked["query"] = value.get("data") or value.get("message") or value.get("query")
    query = asked.get("query")
    if not isinstance(query, str) or not query.strip():
        raise NotUnderstood(Problem.QUERY, language)
    files = asked.get("files")
    if isinstance(files, list):
        asked["files"] = [{"id": it} if isinstance(it, str) else it for it in files]
    if asked.get("collections") is None:
        asked.pop("collections", None)
    try:
        return AgentMessage.model_validate(asked)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        problem = Problem.MODEL if place.startswith("completion") else Problem.UNKNOWN
        raise NotUnderstood(problem, language, f"{place}: {first['msg']}") from err
    except errors.ApeRAGError as err:
        raise NotUnderstood(Problem.UNKNOWN, language, err.message) from err
