"""Which prompt holds for somebody, and what is wrong with a template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.models.prompts.builtin import BUILT_IN, PromptType
from aperag_api.models.prompts.schemas import PromptSource, Validated

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

EMPTY = "the template is empty"


def prompt_of(type_: PromptType, own: Mapping[str, str], system: Mapping[str, str]) -> tuple[str, PromptSource]:
    """The text that holds and whose it is."""
    if type_ in own:
        return own[type_], PromptSource.USER
    if type_ in system:
        return system[type_], PromptSource.SYSTEM
    return BUILT_IN[type_].content, PromptSource.BUILT_IN


def judged(type_: PromptType, template: str, problem: str | None, variables: AbstractSet[str]) -> Validated:
    """``problem`` and ``variables`` are what came of its examination."""
    if not template.strip():
        return Validated(valid=False, errors=[EMPTY], warnings=[])
    if problem is not None:
        return Validated(valid=False, errors=[problem], warnings=[])
    known = BUILT_IN[type_].variables
    missing = [f"{name} is not used: a template of {type_} needs it" for name in known if name not in variables]
    unknown = [f"{name} is given to no template of {type_}: it will fail" for name in sorted(variables - set(known))]
    return Validated(valid=not missing, errors=missing, warnings=unknown)
