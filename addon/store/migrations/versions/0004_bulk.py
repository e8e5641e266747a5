"""Bulk import sessions and their parts; where a table's files lie, which its name no longer says alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bulk_sessions",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("database_name", sa.String(length=128), nullable=False),
        sa.Column("table_name", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("frozen", sa.Boolean(), nullable=False),
        sa.Column("job_id", _ID, nullable=True),
        sa.Column("error_parts", sa.Integer(), nullable=False),
        sa.Column("performed", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Float(precision=53), nullable=False),
        sa.Column("updated_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_sessions")),
        sa.UniqueConstraint("account_id", "name", name=op.f("uq_bulk_sessions_account_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "bulk_parts",
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("file", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["bulk_sessions.id"], name=op.f("fk_bulk_parts_session_id")),
        sa.PrimaryKeyConstraint("session_id", "name", name=op.f("pk_bulk_parts")),
    )
    op.add_column("tables", sa.Column("storage", sa.String(length=320), nullable=True))


def downgrade() -> None:
    op.drop_column("tables", "storage")
    op.drop_table("bulk_parts")
    op.drop_table("bulk_sessions")
