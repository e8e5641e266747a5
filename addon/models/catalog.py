"""Databases and tables as the catalog knows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.tables import Column


@dataclass(frozen=True, slots=True)
class DatabaseInfo:
    """A database; times are Unix seconds."""

    name: str
    tables: int
    rows: int
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class DeclaredColumn:
    """A column of a schema that the customer set: its Treasure Data type and, maybe, an alias for SQL."""

    name: str
    type: str
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A table; times are Unix seconds."""

    id: int
    database: str
    name: str
    rows: int
    declared: Sequence[DeclaredColumn]
    detected: Sequence[Column]
    detect_schema: bool
    include_v: bool
    delete_protected: bool
    expire_days: int | None
    last_log_time: int | None
    imported_at: float | None
    created_at: float
    updated_at: float


@dataclass(slots=True)
class ColumnDrift:
    """How a column came to be what it is; times are Unix seconds of the flushes."""

    types: list[tuple[str, float]] = field(default_factory=list)
    """Each type that it has had and since when: the first is how it appeared, a later one a widening.

    Empty for a column that is older than this record.
    """
    misfits: int = 0
    """Stored values that did not fit; the rows have NULL in the column and the value in ``_overflow``."""
    first_misfit: float | None = None
    last_misfit: float | None = None
