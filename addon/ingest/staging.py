"""Typed rows on their way to the commit: one entry per table, put together from several batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from addon.warehouse.store import Prepared
from addon.warehouse.typed import aligned

if TYPE_CHECKING:
    from addon.models.tables import TableRef
    from addon.warehouse.schema import TableSchema


@dataclass(slots=True)
class Staged:
    """What a segment's batches became so far; a table's schema grows from one batch to the next."""

    schemas: dict[TableRef, TableSchema] = field(default_factory=dict)
    parts: dict[TableRef, list[pa.Table]] = field(default_factory=dict)
    prefixes: dict[TableRef, str] = field(default_factory=dict)
    """Where each table's files were when its first rows were typed."""
    discarded: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    """By kind of reason."""

    def add(self, item: Prepared) -> None:
        """Add a table's rows; their schema is the known one or has grown from it."""
        self.schemas[item.ref] = item.schema
        self.prefixes.setdefault(item.ref, item.prefix)
        self.parts.setdefault(item.ref, []).append(item.table)

    def update(self, other: Staged) -> None:
        """Add everything of ``other``, whose schemas have grown from these."""
        self.schemas |= other.schemas
        self.prefixes = {**other.prefixes, **self.prefixes}
        for ref, tables in other.parts.items():
            self.parts.setdefault(ref, []).extend(tables)
        self.discarded += other.discarded
        self.dead_letters += other.dead_letters

    def prepared(self) -> list[Prepared]:
        """Return the rows of each table in its final schema."""
        return [
            Prepared(
                ref,
                pa.concat_tables([aligned(part, self.schemas[ref]) for part in parts]),
                schema,
                prefix=self.prefixes[ref],
            )
            for ref, schema in self.schemas.items()
            if (parts := self.parts[ref])
        ]
