"""Message types: commands (imperative) and facts (past tense), in one envelope."""
