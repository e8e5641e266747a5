"""When columns appeared and widened, and how many values did not fit them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _column() -> list[sa.Column[object]]:
    """Return what names a table's column."""
    return [
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("database_name", sa.String(length=128), nullable=False),
        sa.Column("table_name", sa.String(length=128), nullable=False),
        sa.Column("column_name", sa.String(length=128), nullable=False),
    ]


def upgrade() -> None:
    key = ("account_id", "database_name", "table_name", "column_name")
    op.create_table(
        "column_history",
        *_column(),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint(*key, "type", name=op.f("pk_column_history")),
    )
    op.create_table(
        "column_misfits",
        *_column(),
        sa.Column("values", sa.BigInteger(), nullable=False),
        sa.Column("first_at", sa.Float(precision=53), nullable=False),
        sa.Column("last_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_column_misfits")),
    )


def downgrade() -> None:
    op.drop_table("column_misfits")
    op.drop_table("column_history")
