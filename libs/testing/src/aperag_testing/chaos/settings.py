"""Settings of a stack that is to be hurt."""

from __future__ import annotations

HOUSEKEEPING = {
    # Orphans and tombstones are cleared while the ingest runs: the sweep must not take what is on its way in.
    "APERAG_TIMERS__COLLECTION_GC": "PT5S",
    "APERAG_RETENTION__ORPHAN_OBJECT": "PT60S",
    "APERAG_RETENTION__TOMBSTONE": "PT60S",
}
"""How soon waste is taken away: hours by default, which nobody wants to wait for who looks whether it is."""

HASTE = {
    "APERAG_WORK__LEASE": "PT5S",
    "APERAG_WORK__BEAT": "PT1S",
    "APERAG_WORK__FIRST_DUE": "PT6S",
    "APERAG_WORK__MAX_DUE": "PT20S",
    "APERAG_TIMERS__RECONCILE_INDEXES": "PT2S",
    "APERAG_TIMERS__OUTBOX": "PT2S",
}
"""What a killed process held, or could not publish, is soon taken over."""
