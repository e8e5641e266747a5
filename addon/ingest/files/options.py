"""What a sender says about its file, and what reading it gave."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from addon.ingest.json_lines import BadLine

_SHOWN = 10


class FileFormat(StrEnum):
    """The formats that an upload may have."""

    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class TimeFormat(StrEnum):
    """What the values of the time column are."""

    AUTO = "auto"
    """Unix time by its size (seconds, milliseconds, microseconds or nanoseconds), or ISO 8601."""
    UNIX = "unix"
    """Unix seconds; a fraction is cut off."""
    UNIX_MS = "unix_ms"
    """Unix milliseconds."""
    ISO = "iso"
    """ISO 8601, UTC where it names no zone."""


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How to read a file."""

    format: FileFormat
    delimiter: str = ","
    columns: tuple[str, ...] = ()
    """The names of a CSV file without a header."""
    all_text: bool = False
    """CSV values stay text, every one."""
    text: frozenset[str] = frozenset()
    """The columns whose CSV values stay text."""
    time_column: str | None = None
    """The column that the rows' time is in; None is ``time``, as it is."""
    time_format: TimeFormat = TimeFormat.AUTO
    first_line: int = 1
    """The line of the whole file that this body begins with, when the body is a piece of it."""


@dataclass(frozen=True, slots=True)
class FileRows:
    """A file's good rows, as lines of JSON objects in UTF-8, and its bad ones."""

    lines: bytes
    rows: int
    bad: list[BadLine]
    clean: bool = False
    """The lines are the body as it came, each looked at, none of them blank."""

    def shown(self) -> list[dict[str, object]]:
        """Return the first bad rows as the answer names them."""
        return [{"line": line.number, "reason": line.reason} for line in self.bad[:_SHOWN]]


class DeadRow(msgspec.Struct, array_like=True):
    """A bad row on its way through the log, in a batch's ``meta``."""

    reason: str
    body: str


_rows = msgspec.json.Decoder(list[DeadRow])


def dead_rows_text(bad: list[BadLine], body_bytes: int, most: int) -> str:
    """Return bad rows for a batch's ``meta``: ``most`` of them one by one, then one that counts the rest."""
    rows = [
        DeadRow(
            f"line {line.number}: {line.reason}", line.body[:body_bytes].decode("utf-8", "backslashreplace")
        )
        for line in bad[:most]
    ]
    if len(bad) > most:
        rows.append(DeadRow(f"{len(bad) - most} more bad rows in this upload", ""))
    return msgspec.json.encode(rows).decode()


def dead_rows(text: str) -> list[DeadRow]:
    """Return what ``dead_rows_text`` wrote."""
    return _rows.decode(text)
