"""The metadata database of a program: SQLAlchemy Core on SQLite or PostgreSQL, migrated by Alembic.

Each program has a database of its own; neither reads the other's. On PostgreSQL (driver pg8000) a lost
connection, a restart and a deadlock become ``Unavailable``: the caller's transaction did not happen, or
nobody can know, so what is repeated must be idempotent.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from platform_core.base.errors import InvalidInput, OutOfSpace, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry

_BUSY_TIMEOUT_MS = 10_000
_POOL, _OVERFLOW, _POOL_WAIT_S = 5, 10, 10
_LOCK_TIMEOUT = "10s"
_SOCKET_S = 60
"""A server that falls silent without a farewell is given up after this."""
_MIGRATION_LOCK = 0x536C_7569_6365
"""The key of the advisory lock that a migration holds: "Sluice" in ASCII."""
_ENDED = frozenset({"57P01", "57P02", "57P03", "57P05"})
"""SQLSTATEs of a server that goes, crashed, or is not up yet."""
_BUSY = frozenset({"40001", "40P01", "55P03", "53300"})
"""Serialization failure, deadlock, lock timeout, too many connections."""
_FULL = frozenset({"53100"})
_REFUSED = ("28", "3D")
_UNFIT = frozenset({"22001", "22021", "22P05"})
"""A text that is too long, holds NUL, or is no UTF-8; SQLite takes them all."""
_LOST = ("network error", "communication error", "connection is closed", "Can't create a connection")
"""What pg8000 says of a connection that broke."""


def database_url(url: str) -> sa.URL:
    """Read a database's URL; ``postgresql://`` and ``postgres://`` mean the driver that is installed.

    Raises:
        InvalidInput: it is no URL, or of another database.
    """
    try:
        parsed = sa.engine.make_url(url)
    except sa.exc.ArgumentError as error:
        raise InvalidInput(
            "The database URL is malformed.", hint="Write postgresql://USER:PASSWORD@HOST:PORT/NAME."
        ) from error
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+pg8000")
    if parsed.drivername not in {"sqlite", "postgresql+pg8000"}:
        raise InvalidInput(
            f"There is no driver for {parsed.drivername} databases.", hint="Use PostgreSQL, or SQLite."
        )
    return parsed


def open_database(url: str, **options: Any) -> sa.Engine:
    """Open the database at ``url``, for example ``sqlite:///home/platform.db``; ``options`` are the engine's.

    On SQLite every transaction starts with ``BEGIN IMMEDIATE`` (no late lock upgrades, so no surprise
    ``database is locked``), in WAL mode with ``synchronous=FULL``: a committed row survives a power cut.

    Raises:
        InvalidInput: there is no driver for it.
    """
    parsed = database_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sa.create_engine(parsed, **options)
        sa.event.listen(engine, "connect", _on_sqlite_connect)
        if options.get("isolation_level") != "AUTOCOMMIT":
            sa.event.listen(engine, "begin", _begin_immediate)
        return engine
    parsed, tls = _tls_of(parsed)
    engine = sa.create_engine(
        parsed,
        pool_pre_ping=True,
        pool_size=_POOL,
        max_overflow=_OVERFLOW,
        pool_timeout=_POOL_WAIT_S,
        connect_args={"timeout": _SOCKET_S, "startup_params": {"lock_timeout": _LOCK_TIMEOUT}, **tls},
        **options,
    )
    setattr(engine.dialect, "do_ping", _careful(engine.dialect.do_ping))  # noqa: B010 - typed as a method
    sa.event.listen(engine, "do_connect", _connect)
    sa.event.listen(engine, "handle_error", _on_postgres_error)
    return engine


def _tls_of(url: sa.URL) -> tuple[sa.URL, dict[str, Any]]:
    """Take libpq's ``sslmode`` and ``sslrootcert`` out of a URL; without them TLS is used where offered.

    Raises:
        InvalidInput: the mode is not one of ours.
    """
    mode, authorities = url.query.get("sslmode", "prefer"), url.query.get("sslrootcert")
    plain = url.difference_update_query(["sslmode", "sslrootcert"])
    if mode == "prefer":
        return plain, {}
    if mode == "disable":
        return plain, {"ssl_context": False}
    if mode == "require":
        return plain, {"ssl_context": True}
    if mode == "verify-full":
        file = authorities if isinstance(authorities, str) else None
        return plain, {"ssl_context": ssl.create_default_context(cafile=file)}
    raise InvalidInput(
        f"The sslmode {mode!r} is not known.", hint="Choose disable, prefer, require or verify-full."
    )


def _on_sqlite_connect(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we emit BEGIN ourselves
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _connect(
    dialect: sa.Dialect, _record: ConnectionPoolEntry, given: tuple[Any, ...], named: dict[str, Any]
) -> DBAPIConnection:
    """Connect; of a server that goes away meanwhile, the driver lets an ``OSError`` through."""
    try:
        return dialect.connect(*given, **named)
    except OSError as error:
        raise _away() from error


def _careful(ping: Callable[[DBAPIConnection], bool]) -> Callable[[DBAPIConnection], bool]:
    """Return a ping that also says no where the driver lets a reset connection's ``OSError`` through."""

    def do_ping(connection: DBAPIConnection) -> bool:
        try:
            return ping(connection)
        except OSError:
            return False

    return do_ping


def _away() -> Unavailable:
    return Unavailable("The metadata database is not reachable.", hint="Retry after 2 seconds.")


def sqlstate(error: BaseException | None) -> str | None:
    """Return PostgreSQL's five-character code of a driver's error, None without one."""
    fields = error.args[0] if error is not None and error.args else None
    return fields.get("C") if isinstance(fields, dict) else None


def _on_postgres_error(context: ExceptionContext) -> None:
    """Turn what a restart does to a connection into ``Unavailable``; leave errors of ours as they are."""
    original = context.original_exception
    code = sqlstate(original) or ""
    if isinstance(original, OSError) or code in _ENDED or str(original).startswith(_LOST):
        context.is_disconnect = True
    if context.is_pre_ping:
        return  # the pool takes another connection
    if context.is_disconnect:
        raise _away()
    if code in _BUSY:
        raise Unavailable("The metadata database is busy.", hint="Retry after 1 second.")
    if code in _FULL:
        raise OutOfSpace("The metadata database's disk is full.", hint="Retry after 10 seconds.")
    if code in _UNFIT:
        raise InvalidInput("A text is too long, or holds a character that cannot be stored.")
    if code.startswith(_REFUSED):
        raise InvalidInput(
            "The metadata database refuses us.", hint="Check user, password and database name in its URL."
        )


def migrate(engine: sa.Engine, migrations: Path) -> None:
    """Bring the schema to the newest revision in the Alembic folder ``migrations``.

    Processes that start at once take turns: on SQLite by its write lock, on PostgreSQL by an advisory lock
    that the transaction's end releases.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        attributes: dict[str, Any] = config.attributes
        attributes["connection"] = connection
        command.upgrade(config, "head")
