"""What a form holds, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.datastructures import FormData, UploadFile
    from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class Form:
    """A field that is absent is empty: an unticked box sends nothing."""

    data: FormData

    def text(self, name: str, *, strip: bool = True) -> str:
        value = self.data.get(name, "")
        text = value if isinstance(value, str) else ""
        return text.strip() if strip else text

    def texts(self, name: str) -> list[str]:
        return [value for value in self.data.getlist(name) if isinstance(value, str) and value]

    def files(self, name: str) -> list[UploadFile]:
        """Those that were chosen: a field without any sends one without a name."""
        return [it for it in self.data.getlist(name) if not isinstance(it, str) and it.filename]

    def ticked(self, name: str) -> bool:
        return name in self.data

    def number(self, name: str) -> int | None:
        text = self.text(name)
        return int(text) if text.isascii() and text.isdecimal() else None


def words(text: str) -> list[str]:
    """Of a field that takes several, apart by spaces or commas."""
    return text.replace(",", " ").split()


async def form_of(request: Request) -> Form:
    return Form(await request.form())
