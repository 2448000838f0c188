"""The command of the path without a database: as our commands are, and to whom its end is told."""

from __future__ import annotations

from typing import ClassVar

from aperag_common import subjects
from aperag_common.events.envelope import Data, Message
from bench.dispatch.task import Task

CONSUMER = "indexer-vector"
SUBJECT = subjects.build_index("vector")
REPLIES = f"{subjects.ROOT}.live.bench"


class OrderData(Data):
    """``number`` tells one order of a run from the next."""

    number: int
    task: Task


class Order(Message):
    type_name: ClassVar[str] = "index.build"
    data: OrderData


def make_order(number: int, task: Task) -> Order:
    data = OrderData(number=number, task=task)
    return Order(source="bench", type=Order.type_name, subject=str(number), owner="bench", data=data)
