"""Headers of ours that more than one part of the gateway reads or writes."""

TURN_HEADER = "X-ApeRAG-Turn"
"""Names the turn of an answer that has no member of ours for it."""
