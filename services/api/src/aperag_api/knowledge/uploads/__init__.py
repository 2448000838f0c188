"""How documents come in: one step, or upload and confirm."""
