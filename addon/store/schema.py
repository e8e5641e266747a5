"""The tables of the add-on's metadata database. Times are Unix seconds as floats, JSON is text."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""SQLite numbers rows by itself only in a column that is declared INTEGER."""

ACCOUNTS = sa.Table(
    "accounts",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("resource_uuid", sa.String(36), unique=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("plan", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sqlite_autoincrement=True,
)
"""One row per tenant; ids are never used again, because folders and uids are derived from them."""

API_KEYS = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("fingerprint", sa.String(64), primary_key=True),
    sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("access_right", sa.String(16), nullable=False),
    sa.Column("prefix", sa.String(32), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
)
"""API keys by the SHA-256 of their text; ``prefix`` is what a list of keys may show."""

RESOURCES = sa.Table(
    "resources",
    METADATA,
    sa.Column("uuid", sa.String(36), primary_key=True),
    sa.Column("account_id", _ID, sa.ForeignKey("accounts.id"), nullable=False, index=True),
    sa.Column("drain_user", sa.String(64), nullable=False),
    sa.Column("drain_secret_fingerprint", sa.String(64), nullable=False),
    sa.Column("log_drain_token", sa.String(64), index=True),
    sa.Column("region", sa.String(64)),
    sa.Column("callback_url", sa.Text()),
    sa.Column("options", sa.Text(), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("deprovisioned_at", sa.Float(53)),
    sa.Column("purged_at", sa.Float(53)),
)
"""Add-on resources; a row whose ``deprovisioned_at`` is set is a tombstone (410).

Its account's data is gone when ``purged_at`` is set, too.
"""

DATABASES = sa.Table(
    "databases",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("updated_at", sa.Float(53), nullable=False),
)

TABLES = sa.Table(
    "tables",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("account_id", _ID, nullable=False),
    sa.Column("database_name", sa.String(128), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("row_count", sa.BigInteger(), nullable=False),
    sa.Column("declared_schema", sa.Text(), nullable=False),
    sa.Column("detected_schema", sa.Text(), nullable=False),
    sa.Column("detect_schema", sa.Boolean(), nullable=False),
    sa.Column("include_v", sa.Boolean(), nullable=False),
    sa.Column("delete_protected", sa.Boolean(), nullable=False),
    sa.Column("expire_days", sa.Integer()),
    sa.Column("last_log_time", sa.BigInteger()),
    sa.Column("imported_at", sa.Float(53)),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("updated_at", sa.Float(53), nullable=False),
    sa.Column("storage", sa.String(320)),
    sa.UniqueConstraint("account_id", "database_name", "name"),
    sqlite_autoincrement=True,
)
"""``storage`` is the table's folder within the account's; NULL means ``<database>/<name>``."""

USAGE = sa.Table(
    "usage",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("month", sa.String(7), primary_key=True),
    sa.Column("row_count", sa.BigInteger(), nullable=False),
)
"""Rows stored per account and UTC month (``2026-11``); deleting a table does not give them back."""

UPLOADS = sa.Table(
    "uploads",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("database_name", sa.String(128), primary_key=True),
    sa.Column("table_name", sa.String(128), primary_key=True),
    sa.Column("upload_id", sa.String(255), primary_key=True),
    sa.Column("body_sha256", sa.String(64), nullable=False),
    sa.Column("recorded_at", sa.Float(53), nullable=False, index=True),
    sa.Column("state", sa.String(8), nullable=False, server_default="stored"),
    sa.Column("batch_id", sa.String(16)),
    sa.Column("node", sa.String(64)),
    sa.Index(
        "ix_uploads_claimed",
        "node",
        sqlite_where=sa.text("state = 'claimed'"),
        postgresql_where=sa.text("state = 'claimed'"),
    ),
)
"""Upload ids: ``stored`` for good, ``claimed`` by a node that is writing it, or ``free`` after a failure.

``batch_id`` is the batch that the id stands for; a single process writes none (see ``uploads.py``).
"""

FLUSHES = sa.Table(
    "flushes",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("database_name", sa.String(128), primary_key=True),
    sa.Column("table_name", sa.String(128), primary_key=True),
    sa.Column("writer", sa.String(64), primary_key=True),
    sa.Column("segment", sa.BigInteger(), nullable=False),
)
"""The newest log segment of each writer whose rows the table's counters hold."""

COLUMN_HISTORY = sa.Table(
    "column_history",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("database_name", sa.String(128), primary_key=True),
    sa.Column("table_name", sa.String(128), primary_key=True),
    sa.Column("column_name", sa.String(128), primary_key=True),
    sa.Column("type", sa.String(16), primary_key=True),
    sa.Column("at", sa.Float(53), nullable=False),
)
"""When a table's column first had a type: its first type is how it appeared, a later one a widening."""

COLUMN_MISFITS = sa.Table(
    "column_misfits",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("database_name", sa.String(128), primary_key=True),
    sa.Column("table_name", sa.String(128), primary_key=True),
    sa.Column("column_name", sa.String(128), primary_key=True),
    sa.Column("values", sa.BigInteger(), nullable=False),
    sa.Column("first_at", sa.Float(53), nullable=False),
    sa.Column("last_at", sa.Float(53), nullable=False),
)
"""Stored values that did not fit their column, counted with the flush that stored them."""

NODES = sa.Table(
    "nodes",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("url", sa.String(255), nullable=False),
    sa.Column("roles", sa.String(64), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("lease_until", sa.Float(53), nullable=False),
    sa.Column("unflushed", sa.Text(), nullable=False),
    sa.Column("credentials", sa.String(64), nullable=False),
    sa.Column("started_at", sa.Float(53), nullable=False),
    sa.Column("seen_at", sa.Float(53), nullable=False),
)
"""The processes of a fleet; ``unflushed`` is JSON: acknowledged batches not yet stored, by account."""

LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("name", sa.String(320), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("lease_until", sa.Float(53), nullable=False),
)
"""Work that one process does at a time."""

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("account_id", _ID, nullable=False),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("database_name", sa.String(128), nullable=False),
    sa.Column("query", sa.Text(), nullable=False),
    sa.Column("params", sa.Text(), nullable=False),
    sa.Column("priority", sa.Integer(), nullable=False),
    sa.Column("retry_limit", sa.Integer(), nullable=False),
    sa.Column("domain_key", sa.String(255)),
    sa.Column("scheduled_time", sa.BigInteger()),
    sa.Column("max_running", sa.Integer(), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("worker", sa.String(64)),
    sa.Column("lease_until", sa.Float(53)),
    sa.Column("epoch", sa.Integer(), nullable=False),
    sa.Column("lost", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("not_before", sa.Float(53)),
    sa.Column("progress", sa.Text()),
    sa.Column("kill_requested", sa.Boolean(), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("started_at", sa.Float(53)),
    sa.Column("ended_at", sa.Float(53)),
    sa.Column("num_records", sa.BigInteger()),
    sa.Column("result_size", sa.BigInteger()),
    sa.Column("result_schema", sa.Text()),
    sa.Column("result_path", sa.Text()),
    sa.Column("stderr", sa.Text(), nullable=False),
    sa.Column("cmdout", sa.Text(), nullable=False),
    sa.UniqueConstraint("account_id", "domain_key"),
    sa.Index(
        "ix_jobs_queued",
        "priority",
        "id",
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    ),
    sa.Index(
        "ix_jobs_running",
        "account_id",
        "lease_until",
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    ),
    sa.Index("ix_jobs_account", "account_id", "id"),
    sqlite_autoincrement=True,
)

JOB_TURNS = sa.Table(
    "job_turns",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("turn", sa.BigInteger(), nullable=False),
)
"""When an account's last job was taken from the queue, as a number that counts the takes of all accounts."""

METERS = sa.Table(
    "meters",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True),
    sa.Column("hour", sa.BigInteger(), primary_key=True),
    sa.Column("database_name", sa.String(128), primary_key=True),
    sa.Column("table_name", sa.String(128), primary_key=True),
    sa.Column("rows_in", sa.BigInteger(), nullable=False),
    sa.Column("bytes_in", sa.BigInteger(), nullable=False),
    sa.Column("bytes_stored", sa.BigInteger()),
    sa.Column("queries", sa.BigInteger(), nullable=False),
    sa.Column("bytes_scanned", sa.BigInteger(), nullable=False),
    sa.Column("cpu_s", sa.Float(53), nullable=False),
)
"""What each table took in, took up and cost, by the hour (Unix seconds of its first second).

Two empty names are what belongs to no table: queries without one, and the computing of analyses.
"""

SSO_TOKENS = sa.Table(
    "sso_tokens",
    METADATA,
    sa.Column("fingerprint", sa.String(64), primary_key=True),
    sa.Column("used_at", sa.Float(53), nullable=False, index=True),
)
"""Single-sign-on tokens that were used, until they are too old to be accepted anyway."""

AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Column("account_id", _ID),
    sa.Column("actor", sa.String(64), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("subject", sa.Text(), nullable=False),
    sa.Column("chain", sa.String(64), nullable=False),
    sqlite_autoincrement=True,
)
"""Who did what, append-only; ``chain`` is the SHA-256 of the row and of the row before it."""

BULK_SESSIONS = sa.Table(
    "bulk_sessions",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("account_id", _ID, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("database_name", sa.String(128), nullable=False),
    sa.Column("table_name", sa.String(128), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("frozen", sa.Boolean(), nullable=False),
    sa.Column("job_id", _ID),
    sa.Column("error_parts", sa.Integer(), nullable=False),
    sa.Column("performed", sa.Text()),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("updated_at", sa.Float(53), nullable=False),
    sa.UniqueConstraint("account_id", "name"),
    sqlite_autoincrement=True,
)
"""Bulk import sessions; ``performed`` is JSON: the staged files, their schema and the counts."""

BULK_PARTS = sa.Table(
    "bulk_parts",
    METADATA,
    sa.Column("session_id", _ID, sa.ForeignKey("bulk_sessions.id"), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("file", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("records", sa.BigInteger(), nullable=False),
)

TABLE_MOVES = sa.Table(
    "table_moves",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("account_id", _ID, nullable=False),
    sa.Column("database_name", sa.String(128), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("new_database", sa.String(128), nullable=False),
    sa.Column("new_name", sa.String(128), nullable=False),
    sa.Column("moved_at", sa.Float(53), nullable=False),
    sqlite_autoincrement=True,
)
"""Tables that got another name, by the name that they had; a swap is two rows of one time."""

DROPPED_PLACES = sa.Table(
    "dropped_places",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True, autoincrement=False),
    sa.Column("place", sa.String(320), primary_key=True),
    sa.Column("dropped_at", sa.Float(53), nullable=False),
    sa.Column("emptied_at", sa.Float(53)),
)
"""Places of deleted tables; their files are still to be deleted where ``emptied_at`` is NULL."""

SCHEDULES = sa.Table(
    "schedules",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("account_id", _ID, nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("cron", sa.String(255), nullable=False),
    sa.Column("timezone", sa.String(64), nullable=False),
    sa.Column("type", sa.String(32), nullable=False),
    sa.Column("database_name", sa.String(128), nullable=False),
    sa.Column("query", sa.Text(), nullable=False),
    sa.Column("params", sa.Text(), nullable=False),
    sa.Column("delay_s", sa.Integer(), nullable=False),
    sa.Column("priority", sa.Integer(), nullable=False),
    sa.Column("retry_limit", sa.Integer(), nullable=False),
    sa.Column("catch_up", sa.Integer(), nullable=False),
    sa.Column("enabled", sa.Boolean(), nullable=False),
    sa.Column("revision", sa.Integer(), nullable=False),
    sa.Column("next_slot", sa.BigInteger()),
    sa.Column("due_at", sa.Float(53), index=True),
    sa.Column("missed", sa.BigInteger(), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("updated_at", sa.Float(53), nullable=False),
    sa.UniqueConstraint("account_id", "name"),
    sqlite_autoincrement=True,
)
"""``next_slot`` is the first slot that is not decided about, ``due_at`` when it is to be: its delay later."""

SCHEDULE_RUNS = sa.Table(
    "schedule_runs",
    METADATA,
    sa.Column("schedule_id", _ID, sa.ForeignKey("schedules.id"), primary_key=True),
    sa.Column("slot", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column("run", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("job_id", _ID, index=True),
    sa.Column("decided_at", sa.Float(53), nullable=False),
)
"""The jobs of slots: run 0 is the slot's own, of which there is one for ever; others were asked for."""

REPORTS = sa.Table(
    "reports",
    METADATA,
    sa.Column("account_id", _ID, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("definition", sa.Text(), nullable=False),
    sa.Column("secrets", sa.Text(), nullable=False),
    sa.Column("revision", sa.Integer(), nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("updated_at", sa.Float(53), nullable=False),
)
"""``definition`` is JSON without secrets, ``secrets`` are those of its deliveries, sealed."""

REPORT_RUNS = sa.Table(
    "report_runs",
    METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("account_id", _ID, nullable=False),
    sa.Column("report", sa.String(64), nullable=False),
    sa.Column("job_id", _ID, nullable=False),
    sa.Column("epoch", sa.Integer(), nullable=False),
    sa.Column("revision", sa.Integer(), nullable=False),
    sa.Column("slot", sa.BigInteger(), nullable=False),
    sa.Column("window_start", sa.BigInteger()),
    sa.Column("window_end", sa.BigInteger()),
    sa.Column("window_words", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("folder", sa.String(255)),
    sa.Column("facts", sa.Text(), nullable=False),
    sa.Column("error", sa.Text(), nullable=False),
    sa.Column("started_at", sa.Float(53), nullable=False),
    sa.Column("ended_at", sa.Float(53)),
    sa.UniqueConstraint("account_id", "job_id"),
    sa.Index("ix_report_runs_account_id_report_id", "account_id", "report", "id"),
    sqlite_autoincrement=True,
)
"""One run per job; ``epoch`` is the execution that may write it."""

REPORT_DELIVERIES = sa.Table(
    "report_deliveries",
    METADATA,
    sa.Column("run_id", _ID, sa.ForeignKey("report_runs.id"), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("target", sa.Text(), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer(), nullable=False),
    sa.Column("next_at", sa.Float(53)),
    sa.Column("holder", sa.String(36)),
    sa.Column("lease_until", sa.Float(53)),
    sa.Column("error", sa.Text(), nullable=False),
    sa.Column("delivered_at", sa.Float(53)),
    sa.Index(
        "ix_report_deliveries_pending",
        "next_at",
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    ),
)
"""A queue of its own: an attempt is claimed with a lease, and the next one is at ``next_at``."""
