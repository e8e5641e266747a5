"""Places of deleted tables stay known when their files are gone; how often a job lost its worker."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("dropped_places") as batch:
        batch.add_column(sa.Column("emptied_at", sa.Float(precision=53), nullable=True))
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("lost", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("lost")
    with op.batch_alter_table("dropped_places") as batch:
        batch.drop_column("emptied_at")
