"""An ingest during which processes die and documents are rebuilt, cancelled and deleted; and what must hold after it."""
