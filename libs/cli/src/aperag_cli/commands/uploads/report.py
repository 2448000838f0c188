"""What came of an upload, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from aperag_cli.output import plain, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from aperag_cli.client.tracks import Tracks
    from aperag_cli.commands.uploads.resume import Known
    from aperag_cli.commands.uploads.send import Sender
    from aperag_cli.commands.uploads.walk import Found, Refusal

SHOWN = 20
"""So many accepted documents are listed for people; of more only the number is of use."""


@dataclass(slots=True)
class Report:
    """``tracks`` is there where the upload waited until everything was searchable."""

    collection_id: str
    found: Found
    known: Known
    sender: Sender
    tracks: Tracks | None = None
    _paths: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._paths = {source.name: str(source.path) for source in self.found.sources}

    @property
    def refused(self) -> list[Refusal]:
        return [*self.found.refused, *self.known.refused, *self.sender.refused]

    @property
    def unsent(self) -> int:
        answered = len(self.sender.accepted) + len(self.sender.refused)
        return len(self.known.missing) - answered

    @property
    def whole(self) -> bool:
        failed = self.tracks is not None and (self.tracks.failures or not self.tracks.all_settled)
        return not (self.refused or self.unsent or failed)

    def as_json(self) -> dict[str, Any]:
        failures = self.tracks.failures if self.tracks else []
        return {
            "collection_id": self.collection_id,
            "accepted": [self._document(name, it) for name, it in self.sender.accepted.items()],
            "known": [self._document(name, it) for name, it in self.known.documents.items()],
            "refused": [{"path": str(it.path), "reason": it.reason} for it in self.refused],
            "unsent": self.unsent,
            "skipped": {"hidden": self.found.hidden, "unsupported": self.found.unsupported},
            "searchable": len(self.tracks.by_id) - len(failures) if self.tracks else None,
            "failed": [{"id": it.document_id, "name": it.name, "reason": it.failure} for it in failures],
        }

    def as_text(self) -> RenderableType:
        parts: list[RenderableType] = []
        accepted = [self._document(name, it) for name, it in self.sender.accepted.items()]
        if 0 < len(accepted) <= SHOWN:
            parts.append(table(accepted, ("name", "id", "task_id")))
        parts += [Text.assemble(("refused ", "red"), plain(f"{it.path}: {it.reason}")) for it in self.refused]
        for track in self.tracks.failures if self.tracks else ():
            parts.append(
                Text.assemble(("failed ", "red"), plain(f"{track.name} ({track.document_id}): {track.failure}"))
            )
        parts.append(plain(self.summary()))
        broken = sum(it["status"] == "FAILED" for it in self.known.documents.values())
        if broken:
            parts.append(
                plain(f"{broken} of those there already had failed: `aperag documents rebuild COLLECTION --failed`")
            )
        return Group(*parts)

    def summary(self) -> str:
        counts = {
            "accepted": len(self.sender.accepted),
            "there already": len(self.known.documents),
            "refused": len(self.refused),
            "not sent": self.unsent,
            "hidden, skipped": self.found.hidden,
            "unsupported, skipped": self.found.unsupported,
        }
        told = [f"{count} {what}" for what, count in counts.items() if count or what == "accepted"]
        if self.tracks is not None:
            told.append(f"{len(self.tracks.by_id) - len(self.tracks.failures)} searchable")
        return "; ".join(told)

    def _document(self, name: str, document: dict[str, Any]) -> dict[str, Any]:
        told = {"path": self._paths[name], "name": document["name"], "id": document["id"]}
        return {**told, "task_id": document.get("task_id"), "status": document["status"]}
