"""The gateway as an agent sees it: asked with the lease of a turn, as its asker."""
