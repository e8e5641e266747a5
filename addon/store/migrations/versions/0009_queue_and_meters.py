"""The queue's turns, retries and progress; the meters that a bill is written from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("not_before", sa.Float(precision=53), nullable=True))
        batch.add_column(sa.Column("progress", sa.Text(), nullable=True))
    op.create_table(
        "job_turns",
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_job_turns")),
    )
    op.create_table(
        "meters",
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("database_name", sa.String(128), nullable=False),
        sa.Column("table_name", sa.String(128), nullable=False),
        sa.Column("rows_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_stored", sa.BigInteger(), nullable=True),
        sa.Column("queries", sa.BigInteger(), nullable=False),
        sa.Column("bytes_scanned", sa.BigInteger(), nullable=False),
        sa.Column("cpu_s", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "hour", "database_name", "table_name", name=op.f("pk_meters")),
    )


def downgrade() -> None:
    op.drop_table("meters")
    op.drop_table("job_turns")
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("progress")
        batch.drop_column("not_before")
        batch.drop_column("failures")
