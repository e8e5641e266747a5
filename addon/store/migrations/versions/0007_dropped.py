"""Places of deleted tables whose files are still to be deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "dropped_places",
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("place", sa.String(length=320), nullable=False),
        sa.Column("dropped_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "place", name=op.f("pk_dropped_places")),
    )


def downgrade() -> None:
    op.drop_table("dropped_places")
