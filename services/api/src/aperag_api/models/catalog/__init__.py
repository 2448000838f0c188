"""Models that providers offer, which of them can be used, and which are used where nobody chose."""
