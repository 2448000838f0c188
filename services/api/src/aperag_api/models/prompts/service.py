"""Reading, changing and trying prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.kernel.reading import reading
from aperag_api.models.prompts import repository
from aperag_api.models.prompts.builtin import BUILT_IN, PromptType
from aperag_api.models.prompts.decide import EMPTY, judged, prompt_of
from aperag_api.models.prompts.schemas import (
    Previewed,
    PromptRemoved,
    PromptSource,
    PromptsResetDone,
    PromptsUpdated,
    SystemPrompt,
    UserPrompt,
    Validated,
)
from aperag_common import errors, ids
from aperag_common.templates.sandbox import render_built_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.models.prompts.schemas import Preview, Validation
    from aperag_common.templates.rendering import Templates


@dataclass(frozen=True, slots=True)
class PromptService:
    """``owner`` is a user, or None for the installation.

    ``templates`` are those that somebody tries. What a turn is told is rendered by ``of_turns``, so that nobody's question
    waits for what others try.
    """

    engine: AsyncEngine
    templates: Templates
    of_turns: Templates

    async def of_user(self, user_id: str) -> dict[PromptType, UserPrompt]:
        async with reading(self.engine) as conn:
            own, system = await _written(conn, user_id)
        prompts: dict[PromptType, UserPrompt] = {}
        for type_, built_in in BUILT_IN.items():
            content, source = prompt_of(type_, own, system)
            prompts[type_] = UserPrompt(
                content=content, source=source, customized=type_ in own, description=built_in.description
            )
        return prompts

    async def of_turn(
        self, user_id: str, system: str | None, query: str | None, variables: Mapping[str, Any]
    ) -> tuple[str, str]:
        """What a model is told: its system prompt, and the question as it is put to it. ``system`` and ``query`` are the bot's own templates, before the user's and the others.

        Raises where one cannot be rendered. What stands in the documents comes later, and is never rendered.
        """
        async with reading(self.engine) as conn:
            own, installed = await _written(conn, user_id)
        told: list[str] = []
        for type_, bots in ((PromptType.AGENT_SYSTEM, system), (PromptType.AGENT_QUERY, query)):
            template, source = (bots, PromptSource.USER) if bots else prompt_of(type_, own, installed)
            # Most users keep the built-in prompts: nobody else's templates may delay their questions.
            built_in = source is PromptSource.BUILT_IN
            rendered = (
                render_built_in(template, variables)
                if built_in
                else await self.of_turns.render(template, variables, user_id)
            )
            if rendered.text is None:
                raise errors.InvalidParameter(f"The prompt {type_} cannot be rendered: {rendered.problem}")
            told.append(rendered.text)
        return told[0], told[1]

    async def of_system(self) -> dict[PromptType, SystemPrompt]:
        async with reading(self.engine) as conn:
            _, system = await _written(conn, None)
        return {
            type_: SystemPrompt(type=type_, content=prompt_of(type_, {}, system)[0], description=built_in.description)
            for type_, built_in in BUILT_IN.items()
        }

    async def update(self, author: str, owner: str | None, prompts: Mapping[str, str]) -> PromptsUpdated:
        """All of them, or none; ``author`` writes them."""
        if not prompts:
            raise errors.InvalidParameter("No prompt is given")
        named = {_type_of(name): content for name, content in prompts.items()}
        for type_, content in named.items():
            problem = (await self.templates.examine(content, author)).problem if content.strip() else EMPTY
            if problem is not None:
                message = f"The prompt {type_} is no template: {problem}"
                raise errors.InvalidParameter(message, details={"prompt_type": type_.value})
        async with self.engine.begin() as conn:
            for type_, content in sorted(named.items()):
                await repository.write(conn, ids.new_prompt_id(), owner, type_.value, content)
        return PromptsUpdated(message=f"{len(named)} prompts updated", updated=sorted(named))

    async def remove(self, owner: str | None, name: str) -> PromptRemoved:
        type_ = _type_of(name)
        async with self.engine.begin() as conn:
            if not await repository.remove(conn, owner, [type_.value]):
                raise errors.NotFound(f"The prompt {type_} has not been changed")
            content, source = await _holding(conn, type_, owner)
        message = f"The prompt {type_} is the one of source {source} again"
        return PromptRemoved(message=message, type=type_, new_content=content, source=source)

    async def reset(self, owner: str | None, names: Iterable[str] | None) -> PromptsResetDone:
        types = list(PromptType) if names is None else [_type_of(name) for name in names]
        async with self.engine.begin() as conn:
            removed = await repository.remove(conn, owner, [type_.value for type_ in types])
        reset = [PromptType(type_) for type_ in removed]
        return PromptsResetDone(message=f"{len(reset)} prompts reset", reset=reset)

    async def preview(self, user_id: str, asked: Preview) -> Previewed:
        rendered = await self.templates.render(asked.template, asked.variables, user_id)
        if rendered.text is None:
            raise errors.InvalidParameter(f"The template cannot be rendered: {rendered.problem}")
        return Previewed(rendered=rendered.text)

    async def validate(self, user_id: str, asked: Validation) -> Validated:
        examined = await self.templates.examine(asked.template, user_id)
        return judged(asked.type, asked.template, examined.problem, examined.variables)


async def _written(conn: AsyncConnection, user_id: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """The user's own, and the installation's."""
    own = {} if user_id is None else await repository.read(conn, user_id)
    return own, await repository.read(conn, None)


async def _holding(conn: AsyncConnection, type_: PromptType, owner: str | None) -> tuple[str, PromptSource]:
    own, system = await _written(conn, owner)
    return prompt_of(type_, own, system)


def _type_of(name: str) -> PromptType:
    try:
        return PromptType(name)
    except ValueError as err:
        message = f"{name[:50]!r} is no type of prompt; there are: {', '.join(PromptType)}"
        raise errors.InvalidParameter(message) from err
