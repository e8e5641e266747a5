"""When a deprovisioned resource's data was really gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("resources", sa.Column("purged_at", sa.Float(precision=53), nullable=True))


def downgrade() -> None:
    op.drop_column("resources", "purged_at")
