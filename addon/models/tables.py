"""Tables, columns and snapshots."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from platform_core.base.errors import InvalidInput

NAME = re.compile(r"^[a-z0-9_]{3,128}$")
"""Treasure Data's rule for database and table names."""

LOGS_DATABASE = "logs"
DEAD_LETTERS = "dead_letters"
"""Table of ``logs`` that keeps what could not be parsed: time, reason, source, database, table, body."""


@dataclass(frozen=True, slots=True, order=True)
class TableRef:
    """A table of an account."""

    account_id: int
    database: str
    table: str


def check_name(kind: str, name: str) -> str:
    """Return ``name`` when it may name a database or table.

    Raises:
        InvalidInput: it breaks Treasure Data's rule.
    """
    if not NAME.match(name):
        raise InvalidInput(
            f"The {kind} name {name[:140]!r} is not valid.",
            hint="Use 3 to 128 of the characters a-z, 0-9 and _.",
        )
    return name


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``type`` is one of long, double, boolean, string, json (nested values as JSON text)."""

    name: str
    type: str
    original: str | None = None
    """The name as the sender spelled it, where normalising changed it."""
    stored: tuple[tuple[str, str], ...] = ()
    """The physical columns (name, type) that hold the values, oldest first; more than one after a widening.

    Empty means one of the column's own name and type. ``addon.warehouse.view`` turns this into SQL.
    """


Interval = tuple[int, int]
"""A closed interval of Unix seconds."""


class Spans(Protocol):
    """The time ranges of a snapshot's files, without an object per file."""

    def meeting(self, ranges: Sequence[Interval]) -> Sequence[int]:
        """Return the positions of the files that may hold a row within one of ``ranges``."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a table, pinned: the files that hold exactly its rows."""

    ref: TableRef
    version: int
    files: Sequence[Path]
    columns: Sequence[Column]
    """Every column, ``time`` first; ``_overflow`` (JSON text, the misfits) is not among them."""
    rows: int
    bytes: int
    min_time: int | None = None
    max_time: int | None = None
    spans: Spans | None = None
    """Where ``files`` lie in time; None when that is not known."""
    sizes: Sequence[int] | None = None
    """The bytes of each of ``files``; None when they are not known."""

    def files_within(self, ranges: Sequence[Interval] | None) -> Sequence[Path]:
        """Return the files that may hold a row within one of ``ranges``; all of them for None."""
        if ranges is None or self.spans is None:
            return self.files
        return [self.files[position] for position in self.spans.meeting(ranges)]

    def sizes_within(self, ranges: Sequence[Interval] | None) -> Sequence[int] | None:
        """Return the bytes of each file that ``files_within`` returns; None when they are not known."""
        if self.sizes is None or ranges is None or self.spans is None:
            return self.sizes
        return [self.sizes[position] for position in self.spans.meeting(ranges)]
