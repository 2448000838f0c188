"""Whether so much more fits into what a user may own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.db.models import QuotaType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BUILT_IN: Mapping[QuotaType, int] = {
    QuotaType.COLLECTIONS: 10,
    QuotaType.DOCUMENTS: 1000,
    QuotaType.DOCUMENTS_PER_COLLECTION: 100,
    QuotaType.BOTS: 5,
}
"""What holds where nobody has said otherwise (contract 1.13)."""


@dataclass(frozen=True, slots=True)
class Use:
    """``used`` is counted; ``limit`` is the user's own, or the default."""

    quota_type: QuotaType
    limit: int
    used: int

    @property
    def remaining(self) -> int:
        """Never negative: a limit may be set below what is there."""
        return max(0, self.limit - self.used)


def limits(own: Mapping[str, int | None], defaults: Mapping[str, int]) -> dict[QuotaType, int]:
    """The limits that hold: a user's own, else the installation's, else the built-in ones."""
    found: dict[QuotaType, int] = {}
    for quota_type, built_in in BUILT_IN.items():
        limit = own.get(quota_type)
        found[quota_type] = defaults.get(quota_type, built_in) if limit is None else limit
    return found


def exceeded(asked: int, uses: Iterable[Use]) -> Use | None:
    """The first quota that ``asked`` more do not fit into; nothing more fits always."""
    return next((use for use in uses if asked and use.used + asked > use.limit), None)
