"""Providers and models, chats and turns; a collection may want another embedding model than it serves."""

from __future__ import annotations

import json
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_provider",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("user_id", sa.String(length=24), nullable=False),
        sa.Column("label", sa.String(length=256), nullable=False),
        sa.Column("completion_dialect", sa.String(length=64), nullable=False),
        sa.Column("embedding_dialect", sa.String(length=64), nullable=False),
        sa.Column("rerank_dialect", sa.String(length=64), nullable=False),
        sa.Column("allow_custom_base_url", sa.Boolean(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.Column("api_key", sa.Text(), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_llm_provider")),
    )
    op.create_index(op.f("ix_llm_provider_user_id"), "llm_provider", ["user_id"], unique=False)
    op.create_table(
        "default_model",
        sa.Column("scenario", sa.String(length=48), nullable=False),
        sa.Column("provider_name", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_name"], ["llm_provider.name"], name=op.f("fk_default_model_provider_name"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("scenario", name=op.f("pk_default_model")),
    )
    op.create_table(
        "llm_model",
        sa.Column("provider_name", sa.String(length=128), nullable=False),
        sa.Column("api", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("custom_llm_provider", sa.String(length=128), nullable=False),
        sa.Column("context_window", sa.Integer(), nullable=True),
        sa.Column("max_input_tokens", sa.Integer(), nullable=True),
        sa.Column("max_output_tokens", sa.Integer(), nullable=True),
        sa.Column("dimensions", sa.Integer(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_name"], ["llm_provider.name"], name=op.f("fk_llm_model_provider_name"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("provider_name", "api", "model", name=op.f("pk_llm_model")),
    )
    op.create_table(
        "provider_slot",
        sa.Column("provider_name", sa.String(length=128), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["provider_name"], ["llm_provider.name"], name=op.f("fk_provider_slot_provider_name"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("provider_name", "slot", name=op.f("pk_provider_slot")),
    )
    op.create_table(
        "chat",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("owner", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=24), nullable=False),
        sa.Column("title", sa.String(length=256), nullable=False),
        sa.Column("peer_type", sa.String(length=24), nullable=False),
        sa.Column("peer_id", sa.String(length=256), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["bot_id"], ["bot.id"], name=op.f("fk_chat_bot_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_chat_owner"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat")),
    )
    op.create_index("ix_chat_bot_created", "chat", ["bot_id", "created"], unique=False)
    op.create_index(op.f("ix_chat_owner"), "chat", ["owner"], unique=False)
    op.create_table(
        "turn",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("owner", sa.String(length=24), nullable=False),
        sa.Column("chat_id", sa.String(length=24), nullable=False),
        sa.Column("bot_id", sa.String(length=24), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rights", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("parts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("usage", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("run", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trace_id", sa.String(length=32), nullable=True),
        sa.Column("feedback", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("observed_generation", sa.Integer(), nullable=False),
        sa.Column("dispatch", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("lane", sa.String(length=12), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_owner", sa.String(length=64), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.String(length=64), nullable=True),
        sa.Column(
            "failed_attempts", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.String(length=64), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["chat_id"], ["chat.id"], name=op.f("fk_turn_chat_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_turn_owner"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turn")),
        sa.UniqueConstraint("chat_id", "message_id", name=op.f("uq_turn_chat_id_message_id")),
        sa.UniqueConstraint("chat_id", "ordinal", name=op.f("uq_turn_chat_id_ordinal")),
    )
    op.create_index(
        "ix_turn_due",
        "turn",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')"),
    )
    op.create_index("ix_turn_failed", "turn", ["status"], unique=False, postgresql_where=sa.text("status = 'FAILED'"))
    op.create_index(op.f("ix_turn_owner"), "turn", ["owner"], unique=False)
    op.alter_column(
        "chunk_vector",
        "model",
        existing_type=sa.VARCHAR(length=128),
        type_=sa.String(length=400),
        existing_nullable=False,
    )
    op.add_column("bot", sa.Column("config_text", sa.Text(), nullable=True))
    # An index is of vectors of one length, so it goes before the column takes any. What is there is not rewritten.
    op.drop_index("ix_chunk_vector_hnsw", "chunk_vector")
    op.execute("ALTER TABLE chunk_vector ALTER COLUMN embedding TYPE halfvec")
    op.execute("ALTER TABLE chunk_vector ALTER COLUMN embedding SET STORAGE PLAIN")
    op.create_index(
        "ix_chunk_vector_hnsw",
        "chunk_vector",
        [sa.text("(embedding::halfvec(512)) halfvec_cosine_ops")],
        unique=False,
        postgresql_using="hnsw",
        postgresql_where=sa.text("model = 'local/use-multilingual-v3'"),
    )
    op.add_column("collection", sa.Column("wanted_model", sa.String(length=400), nullable=True))
    op.add_column("collection", sa.Column("switching_since", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_collection_switching",
        "collection",
        ["switching_since"],
        unique=False,
        postgresql_where=sa.text("switching_since IS NOT NULL"),
    )
    op.alter_column(
        "collection",
        "active_model",
        existing_type=sa.VARCHAR(length=128),
        type_=sa.String(length=400),
        existing_nullable=False,
    )
    _seed()


def _seed() -> None:
    """The public providers and a few models of each; what an administrator deletes of it does not come back."""
    for provider in json.loads(Path(__file__).with_name("0004_providers.json").read_text(encoding="utf-8")):
        models = provider.pop("models")
        op.execute(
            sa.text(
                """
                INSERT INTO llm_provider (name, user_id, label, base_url, completion_dialect, embedding_dialect,
                    rerank_dialect, allow_custom_base_url)
                VALUES (:name, 'public', :label, :base_url, 'openai', 'openai', :rerank_dialect, false)
                """
            ).bindparams(**provider)
        )
        for model in models:
            _seed_model(provider["name"], model)


def _seed_model(provider: str, model: dict[str, object]) -> None:
    op.execute(
        sa.text(
            """
            INSERT INTO llm_model (provider_name, api, model, custom_llm_provider, context_window, max_input_tokens,
                max_output_tokens, tags)
            SELECT :provider, m.api, m.model, coalesce(m.custom_llm_provider, :provider), m.context_window,
                m.max_input_tokens, m.max_output_tokens, m.tags
            FROM jsonb_to_record(CAST(:model AS jsonb)) AS m(api text, model text, custom_llm_provider text,
                context_window int, max_input_tokens int, max_output_tokens int, tags text[])
            """
        ).bindparams(provider=provider, model=json.dumps(model))
    )
