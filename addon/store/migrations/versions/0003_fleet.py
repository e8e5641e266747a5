"""Several processes on one database: owners of upload ids, the nodes, leases, counted flushes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("uploads", sa.Column("state", sa.String(length=8), server_default="stored", nullable=False))
    op.add_column("uploads", sa.Column("batch_id", sa.String(length=16), nullable=True))
    op.add_column("uploads", sa.Column("node", sa.String(length=64), nullable=True))
    op.create_index(
        "ix_uploads_claimed",
        "uploads",
        ["node"],
        unique=False,
        sqlite_where=sa.text("state = 'claimed'"),
        postgresql_where=sa.text("state = 'claimed'"),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=255), nullable=False),
        sa.Column("roles", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("lease_until", sa.Float(precision=53), nullable=False),
        sa.Column("unflushed", sa.Text(), nullable=False),
        sa.Column("credentials", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.Float(precision=53), nullable=False),
        sa.Column("seen_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(length=320), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("lease_until", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "flushes",
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("database_name", sa.String(length=128), nullable=False),
        sa.Column("table_name", sa.String(length=128), nullable=False),
        sa.Column("writer", sa.String(length=64), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account_id", "database_name", "table_name", "writer", name=op.f("pk_flushes")
        ),
    )


def downgrade() -> None:
    op.drop_table("flushes")
    op.drop_table("leases")
    op.drop_table("nodes")
    op.drop_index("ix_uploads_claimed", "uploads")
    op.drop_column("uploads", "node")
    op.drop_column("uploads", "batch_id")
    op.drop_column("uploads", "state")
