"""A second built-in encoder: it can be chosen, and its vectors have an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        INSERT INTO llm_model (provider_name, api, model, custom_llm_provider, tags)
        VALUES ('local', 'embedding', 'multilingual-e5-small', 'local', '{recommend,enable_for_collection,free}')
        """
    )
    op.create_index(
        "ix_chunk_vector_hnsw_e5",
        "chunk_vector",
        [sa.text("(embedding::halfvec(384)) halfvec_cosine_ops")],
        postgresql_using="hnsw",
        postgresql_where=sa.text("model = 'local/multilingual-e5-small'"),
    )
