"""An output into a table of a PostgreSQL database: the run's rows take their own place in one transaction."""

from __future__ import annotations

import asyncio
import hashlib
import io
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pg8000.dbapi
import pyarrow as pa

from addon.schedules.deliveries.egress import Origin, origin_of
from addon.schedules.deliveries.outputs import RUN_COLUMNS, find_output, output_rows, output_schema
from addon.schedules.deliveries.port import NotDelivered, Refused, settings_as
from jobs.contracts.parameters import optional, parameter, required, text
from platform_core.base.database import database_url, sqlstate
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from addon.schedules.deliveries.egress import Egress
    from addon.schedules.deliveries.port import Parcel

_TIMEOUT_S = 120
_MOST_NAME = 63
"""Bytes: PostgreSQL cuts longer names without a word."""
_MODES = ("disable", "prefer", "require", "verify-full")
_RUN_TYPES = {"string": "text", "long": "bigint"}
_PASSING = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE that may pass: connections, conflicts, resources, locks, the operator, the system."""


@dataclass(frozen=True, slots=True, repr=False)  # it holds secrets
class PostgresSettings:
    """What a delivery of the type ``postgresql`` takes."""

    url: str = required(text(), "postgresql://USER:PASSWORD@HOST[:PORT]/DATABASE[?sslmode=…]")
    table: str = required(text(), "the table; made when missing, columns are added when missing")
    schema: str = parameter("public", text(), "its schema, which must be there")
    analysis: str | None = parameter(None, optional(text()), "the analysis' key; the first one's when null")
    output: str | None = parameter(None, optional(text()), "its output; that of the analysis' name when null")

    def __post_init__(self) -> None:
        """Check what the fields cannot check alone; no text here repeats the URL, which holds a password."""
        for name in ("table", "schema"):
            value = getattr(self, name)
            if len(value.encode()) > _MOST_NAME or not value.isprintable():
                raise InvalidInput(f"parameter {name}: give a name of up to {_MOST_NAME} bytes.")
        self.origin()
        url = self.parsed()
        if not url.username or not url.database:
            raise InvalidInput("parameter url: give postgresql://USER:PASSWORD@HOST[:PORT]/DATABASE.")
        if set(url.query) - {"sslmode"} or self.mode() not in _MODES:
            raise InvalidInput(
                f"parameter url: of options it takes sslmode only, one of {', '.join(_MODES)}."
            )

    def parsed(self) -> sa.URL:
        """Return the URL's parts."""
        try:
            return database_url(self.url)
        except (InvalidInput, ValueError) as error:
            raise InvalidInput("parameter url: this is no PostgreSQL URL.") from error

    def origin(self) -> Origin:
        """Return the server."""
        plain = self.url.replace("postgres://", "postgresql://", 1)
        return origin_of(plain, ("postgresql",), userinfo=True)

    def mode(self) -> str:
        """Return how far TLS is asked for."""
        return str(self.parsed().query.get("sslmode", "prefer"))


class PostgresDelivery:
    """Makes the table when missing, adds columns when missing, and replaces the rows of the run."""

    type: ClassVar[str] = "postgresql"
    secrets: ClassVar[frozenset[str]] = frozenset({"url"})

    def __init__(self, egress: Egress) -> None:
        """Connect where ``egress`` allows."""
        self._egress = egress

    def check(self, settings: Mapping[str, Any]) -> None:
        """Check settings."""
        settings_as(PostgresSettings, settings)

    def target(self, settings: Mapping[str, Any]) -> str:
        """Return server, database and table."""
        asked = settings_as(PostgresSettings, settings)
        return f"{asked.origin()}/{asked.parsed().database} {asked.schema}.{asked.table}"

    async def deliver(self, parcel: Parcel, settings: Mapping[str, Any]) -> None:
        """Write the rows in one transaction."""
        asked = settings_as(PostgresSettings, settings)
        file = await asyncio.to_thread(find_output, parcel, asked.analysis, asked.output)
        address = await self._egress.address(asked.origin())
        await asyncio.to_thread(_write, asked, address, parcel, file)


def _write(asked: PostgresSettings, address: str, parcel: Parcel, file: Path) -> None:
    where = str(asked.origin())
    try:
        with closing(_connect(asked, address)) as connection:
            _replace(connection, asked, parcel, file)
            connection.commit()
    except (pg8000.dbapi.DatabaseError, pg8000.dbapi.InterfaceError) as error:
        raise _failure(error, where) from error
    except (ssl.SSLCertVerificationError, ssl.CertificateError) as error:
        raise Refused(f"The certificate of {where} is not valid.") from error
    except OSError as error:
        raise NotDelivered(f"{where} was not reached: {error.strerror or type(error).__name__}.") from error


def _connect(asked: PostgresSettings, address: str) -> pg8000.dbapi.Connection:
    """Connect to the checked address; for TLS the server is known by its name."""
    url, origin = asked.parsed(), asked.origin()
    sock = socket.create_connection((address, origin.port), _TIMEOUT_S)
    try:
        return pg8000.dbapi.connect(
            str(url.username),
            host=origin.host,
            database=url.database,
            password=None if url.password is None else str(url.password),
            ssl_context=_tls(asked.mode()),
            timeout=_TIMEOUT_S,
            application_name="sluice",
            sock=sock,
        )
    except BaseException:
        sock.close()
        raise


def _tls(mode: str) -> ssl.SSLContext | bool | None:
    """Return what pg8000 calls it: False for none, None where offered, True unverified."""
    choices: dict[str, bool | None] = {"disable": False, "prefer": None, "require": True}
    return choices[mode] if mode in choices else ssl.create_default_context()


def _replace(
    connection: pg8000.dbapi.Connection, asked: PostgresSettings, parcel: Parcel, file: Path
) -> None:
    columns = [(name, _RUN_TYPES[kind]) for name, kind in RUN_COLUMNS]
    columns += [(field.name, _type_of(field.type)) for field in output_schema(file)]
    table = f"{_quoted(asked.schema)}.{_quoted(asked.table)}"
    cursor = connection.cursor()
    # Two attempts at once take turns, also in making the table; readers go on.
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_turn_of(table),))
    _fit(cursor, asked, table, columns)
    cursor.execute(
        f'DELETE FROM {table} WHERE "report" = %s AND "report_run" = %s',  # noqa: S608  (quoted names)
        (parcel.run.report, parcel.run.id),
    )
    names = [name for name, _ in columns]
    into = ", ".join(map(_quoted, names))
    cursor.execute(f"COPY {table} ({into}) FROM STDIN", stream=_copied(parcel, file, names))


def _turn_of(table: str) -> int:
    """Return the advisory lock's key for a table: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(f"sluice:{table}".encode()).digest()[:8], "big", signed=True)


def _fit(
    cursor: pg8000.dbapi.Cursor, asked: PostgresSettings, table: str, columns: Sequence[tuple[str, str]]
) -> None:
    """Make the table, or the columns that it lacks; one that has them all is not locked against readers."""
    cursor.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        (asked.schema, asked.table),
    )
    there = {str(row[0]) for row in cursor.fetchall()}
    missing = [f"{_quoted(name)} {kind}" for name, kind in columns if name not in there]
    if not there:
        cursor.execute(f"CREATE TABLE {table} ({', '.join(missing)})")
    elif missing:
        added = ", ".join(f"ADD COLUMN {column}" for column in missing)
        cursor.execute(f"ALTER TABLE {table} {added}")


def _copied(parcel: Parcel, file: Path, names: Sequence[str]) -> io.BytesIO:
    """Return the rows in COPY's text form."""
    stream = io.BytesIO()
    for row in output_rows(parcel, file):
        stream.write("\t".join(_copy_text(row.get(name)) for name in names).encode() + b"\n")
    stream.seek(0)
    return stream


def _copy_text(value: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    written = value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
    for plain, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\ufffd")):
        written = written.replace(plain, escaped)
    return written


def _type_of(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "bigint"
    if pa.types.is_floating(kind):
        return "double precision"
    return "numeric" if pa.types.is_decimal(kind) else "text"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _failure(error: Exception, where: str) -> Refused | NotDelivered:
    """Tell what stays from what may pass; the server's own words name columns and tables, no secrets."""
    state = sqlstate(error)
    if state is None:
        return NotDelivered(f"{where} was not reached, or the connection broke.")
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    text = f"{where} says {state}: {str(fields.get('M', ''))[:300]}"
    return NotDelivered(text) if state.startswith(_PASSING) else Refused(text)
