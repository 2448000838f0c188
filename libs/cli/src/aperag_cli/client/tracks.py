"""How far each document is, told by events; decided without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aperag_cli.client.events import Event

GONE = "it was deleted"


class Stage(StrEnum):
    """What a document goes through; the indexes are built side by side."""

    PARSE = "parse"
    VECTOR = "vector"
    FULLTEXT = "fulltext"


@dataclass(slots=True)
class Track:
    """One document; ``failure`` is the reason where it ended badly."""

    document_id: str
    name: str
    reached: set[Stage] = field(default_factory=set)
    failure: str | None = None
    settled: bool = False


@dataclass(slots=True)
class Tracks:
    """The documents that are followed; what happens to others is ignored."""

    by_id: dict[str, Track] = field(default_factory=dict)

    @property
    def all_settled(self) -> bool:
        return all(track.settled for track in self.by_id.values())

    @property
    def failures(self) -> list[Track]:
        return [track for track in self.by_id.values() if track.failure is not None]

    def read(self, documents: Iterable[dict[str, Any]]) -> None:
        """Take the state that the gateway lists: a document's start, or what events were missed."""
        for document in documents:
            track = self.by_id.setdefault(document["id"], Track(document["id"], document["name"]))
            for stage in (Stage.VECTOR, Stage.FULLTEXT):
                if document[f"{stage}_index_status"] == "ACTIVE":
                    track.reached |= {Stage.PARSE, stage}
            if document["status"] == "COMPLETE":
                _settle(track)
            elif document["status"] == "FAILED":
                _settle(track, failure=track.failure or _reason(document) or "FAILED")

    def lose(self, document_ids: Iterable[str]) -> None:
        """Documents that are no longer there."""
        for id_ in document_ids:
            _settle(self.by_id[id_], failure=GONE)

    def apply(self, event: Event) -> Track | None:
        """The document whose state this event changed."""
        track = self.by_id.get(event.data.get("document_id", ""))
        if track is None:
            return None
        match event.type:
            case "document.parsed":
                track.reached.add(Stage.PARSE)
            case "index.activated" if event.data.get("kind") in set(Stage):
                track.reached |= {Stage.PARSE, Stage(event.data["kind"])}
            case "document.parse_failed" | "index.failed":
                track.failure = track.failure or _reason(event.data) or event.type
            case "document.superseded":
                return None  # a newer change took its place, and its end is to come
            case "document.deleted":
                _settle(track, failure=GONE)
            case "document.indexed" | "document.failed" | "document.cancelled":
                success = event.data.get("outcome") == "SUCCESS"
                _settle(track, failure=None if success else track.failure or _reason(event.data) or event.type)
            case _:
                return None
        return track


def _settle(track: Track, *, failure: str | None = None) -> None:
    track.settled = True
    track.failure = failure
    if failure is None:
        track.reached |= set(Stage)


def _reason(told: Mapping[str, Any]) -> str:
    """Of an event or a document; empty where it names none."""
    parts = [str(part) for part in (told.get("error_code"), told.get("error_message")) if part]
    return ": ".join(parts) or str(told.get("outcome") or "")
