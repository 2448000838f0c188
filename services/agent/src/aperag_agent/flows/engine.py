"""Runs a flow: level after level, what stands on one level side by side, the answer last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_agent.failures import TurnFailed, may_pass, no_output, of_flow, too_slow
from aperag_common import errors
from aperag_common.flows.definition import Strategy
from aperag_common.flows.graph import answering, levels
from aperag_common.flows.nodes import nothing_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aperag_agent.flows.progress import Progress
    from aperag_agent.flows.runners import Runners
    from aperag_agent.flows.values import Outputs, Values
    from aperag_common.flows.definition import Flow, Node


@dataclass(slots=True)
class FlowRun:
    """``outputs`` are those of the nodes that have ended."""

    flow: Flow
    values: Values
    runners: Runners
    progress: Progress
    outputs: Outputs = field(default_factory=dict)

    async def run(self) -> None:
        """Raises ``TurnFailed`` where it ends without an answer, ``Retryable`` where it may be begun anew later."""
        await self.progress.flow_started()
        try:
            await self._in_time()
        except TurnFailed as failure:
            await self.progress.flow_failed(failure.message)
            raise
        await self.progress.flow_ended()

    async def _in_time(self) -> None:
        seconds = self.flow.execution.timeout
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self._run()
        except TimeoutError as err:
            if limit.expired():
                raise too_slow(seconds) from err
            raise

    async def _run(self) -> None:
        ends = answering(self.flow)
        if not ends:
            raise no_output()
        answer = ends[0]
        for level in levels(self.flow):
            await self._level([node for node in level if node.id != answer.id])
        # Nothing comes after it: another event would end up in the middle of its text.
        await self._node(answer, answers=True)

    async def _level(self, nodes: Iterable[Node]) -> None:
        tasks = [asyncio.create_task(self._node(node)) for node in nodes]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _node(self, node: Node, *, answers: bool = False) -> None:
        try:
            self.outputs[node.id] = await self._attempts(node, answers=answers)
        except (TurnFailed, errors.ApeRAGError) as failure:
            goes_on = self.flow.execution.error_handling.strategy is Strategy.CONTINUE and not answers
            if goes_on:
                self.outputs[node.id] = nothing_of(node.type)
            elif isinstance(failure, errors.Retryable):
                raise
            else:
                raise of_flow(failure, node.id) from failure

    async def _attempts(self, node: Node, *, answers: bool) -> dict[str, Any]:
        retry = self.flow.execution.retry
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(node, answers=answers)
            except (TurnFailed, errors.ApeRAGError) as failure:
                await self.progress.failed(node, failure.message, attempt)
                if attempt >= retry.max_attempts or not self._again(failure, answers=answers):
                    raise
            await asyncio.sleep(retry.delay)

    def _again(self, failure: TurnFailed | errors.ApeRAGError, *, answers: bool) -> bool:
        """A text of which readers have some is not begun anew."""
        if answers and self.runners.written:
            return False
        return isinstance(failure, errors.Retryable) or (isinstance(failure, TurnFailed) and may_pass(failure))

    async def _once(self, node: Node, *, answers: bool) -> dict[str, Any]:
        inputs = await self.values.inputs_of(node, self.outputs)
        await self.progress.started(node, inputs)
        given, notes = await self.runners.run(node.type, inputs, answers=answers)
        await self.progress.ended(node, given, notes)
        return given
