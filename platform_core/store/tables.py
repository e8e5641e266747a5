"""The platform's tables. Times are Unix seconds; ids are UUIDs as text; secrets are kept as SHA-256."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(36), primary_key=True)


def _ref(name: str, target: str, *, nullable: bool = False, cascade: bool = True) -> sa.Column[str]:
    key = sa.ForeignKey(target, ondelete="CASCADE" if cascade else None)
    return sa.Column(name, sa.String(36), key, nullable=nullable, index=True)


def _time(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable)


accounts = sa.Table(
    "accounts",
    METADATA,
    _id(),
    sa.Column("email", sa.String(320), nullable=False, unique=True),
    sa.Column("name", sa.Text(), nullable=False),
    _time("created_at"),
)

authorizations = sa.Table(
    "authorizations",
    METADATA,
    _id(),
    sa.Column("description", sa.Text(), nullable=False),
    sa.Column("token_sha256", sa.String(64), nullable=False, unique=True),
    _ref("account_id", "accounts.id", nullable=True),
    _ref("addon_id", "addons.id", nullable=True),
    _time("created_at"),
    _time("expires_at", nullable=True),
)

apps = sa.Table(
    "apps",
    METADATA,
    _id(),
    sa.Column("name", sa.String(30), nullable=False, unique=True),
    _ref("owner_id", "accounts.id", cascade=False),
    sa.Column("uid", sa.Integer(), nullable=False, unique=True),
    sa.Column("maintenance", sa.Boolean(), nullable=False),
    sa.Column("stack", sa.String(30), nullable=False),
    sa.Column("region", sa.String(30), nullable=False),
    sa.Column("buildpack", sa.Text(), nullable=True),
    sa.Column("current_version", sa.Integer(), nullable=False),
    _time("created_at"),
    _time("updated_at"),
    _time("released_at", nullable=True),
)

app_uids = sa.Table(
    "app_uids",
    METADATA,
    # Every host uid ever given out. Never reused: files of a deleted app may outlive its row.
    sa.Column("uid", sa.Integer(), primary_key=True, autoincrement=False),
)

config_vars = sa.Table(
    "config_vars",
    METADATA,
    sa.Column("app_id", sa.String(36), sa.ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("value", sa.Text(), nullable=False),
)

slugs = sa.Table(
    "slugs",
    METADATA,
    _id(),
    _ref("app_id", "apps.id"),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("commit", sa.String(64), nullable=False),
    sa.Column("process_types", sa.JSON(), nullable=False),
    sa.Column("buildpack", sa.Text(), nullable=False),
    _time("created_at"),
)

releases = sa.Table(
    "releases",
    METADATA,
    _id(),
    _ref("app_id", "apps.id"),
    sa.Column("version", sa.Integer(), nullable=False),
    sa.Column("description", sa.Text(), nullable=False),
    sa.Column("user_email", sa.String(320), nullable=False),
    _ref("slug_id", "slugs.id", nullable=True),
    # What users set, and what attachments gave, apart: a rollback restores the first only.
    sa.Column("own_config", sa.JSON(), nullable=False),
    sa.Column("addon_config", sa.JSON(), nullable=False),
    sa.Column("addon_plan_names", sa.JSON(), nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("has_output", sa.Boolean(), nullable=False),
    _time("created_at"),
    sa.UniqueConstraint("app_id", "version"),
)

release_outputs = sa.Table(
    "release_outputs",
    METADATA,
    sa.Column(
        "release_id", sa.String(36), sa.ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("output", sa.Text(), nullable=False),
)

formation = sa.Table(
    "formation",
    METADATA,
    sa.Column("app_id", sa.String(36), sa.ForeignKey("apps.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("type", sa.String(63), primary_key=True),
    sa.Column("quantity", sa.Integer(), nullable=False),
    sa.Column("size", sa.String(30), nullable=False),
)

addons = sa.Table(
    "addons",
    METADATA,
    _id(),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    _ref("app_id", "apps.id"),
    sa.Column("service", sa.String(100), nullable=False),
    sa.Column("plan", sa.String(100), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("provider_id", sa.Text(), nullable=True),
    sa.Column("config", sa.JSON(), nullable=False),
    sa.Column("config_prefix", sa.String(100), nullable=False),
    sa.Column("message", sa.Text(), nullable=True),
    sa.Column("log_drain_url", sa.Text(), nullable=True),
    sa.Column("log_drain_token", sa.String(40), nullable=True),
    sa.Column("options", sa.JSON(), nullable=False),
    _time("created_at"),
    _time("updated_at"),
)

attachments = sa.Table(
    "attachments",
    METADATA,
    _id(),
    sa.Column("name", sa.String(255), nullable=False),
    _ref("addon_id", "addons.id"),
    _ref("app_id", "apps.id"),
    sa.Column("namespace", sa.String(255), nullable=True),
    _time("created_at"),
    _time("updated_at"),
    sa.UniqueConstraint("app_id", "name"),
)

grants = sa.Table(
    "grants",
    METADATA,
    # OAuth codes (single use) and refresh tokens of add-ons.
    sa.Column("secret_sha256", sa.String(64), primary_key=True),
    _ref("addon_id", "addons.id"),
    sa.Column("kind", sa.String(20), nullable=False),
    _time("expires_at", nullable=True),
)

drains = sa.Table(
    "drains",
    METADATA,
    _id(),
    _ref("app_id", "apps.id"),
    _ref("addon_id", "addons.id", nullable=True),
    # Not unique: an add-on's drains of several apps carry the one token that its vendor was told.
    sa.Column("token", sa.String(40), nullable=False),
    # Not unique either: one address of a vendor takes the lines of all its resources, told apart by token.
    sa.Column("url", sa.Text(), nullable=False),
    _time("created_at"),
)

give_backs = sa.Table(
    "give_backs",
    METADATA,
    # Resources that no app has any more and whose vendor has not confirmed the end of yet.
    sa.Column("addon_id", sa.String(36), primary_key=True),
    sa.Column("service", sa.String(100), nullable=False),
    _time("created_at"),
)

platform_secrets = sa.Table(
    "platform_secrets",
    METADATA,
    sa.Column("name", sa.String(50), primary_key=True),
    sa.Column("value", sa.Text(), nullable=False),
)

used_tickets = sa.Table(
    "used_tickets",
    METADATA,
    sa.Column("nonce", sa.String(64), primary_key=True),
    _time("expires_at"),
)
