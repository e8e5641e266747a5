"""Which tables got another name, for what was accepted under the old one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "table_moves",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("database_name", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("new_database", sa.String(length=128), nullable=False),
        sa.Column("new_name", sa.String(length=128), nullable=False),
        sa.Column("moved_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_table_moves")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("table_moves")
