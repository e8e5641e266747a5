"""A table's schema: logical columns over physical ones, and its form in the Delta log.

The first values set a column's type. A double that meets a long column widens it: the logical column becomes
double and new values go to a second physical column, so that no file is rewritten and every reader's types
hold. Anything else that does not fit stays in ``_overflow``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import Field, Schema
from deltalake.schema import PrimitiveType

from addon.models.tables import Column
from addon.warehouse.names import OVERFLOW, column_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_COLUMNS = 512
"""Treasure Data's limit for streaming; the keys beyond it stay in ``_overflow``."""
TIME = Column("time", "long", stored=(("time", "long"),))

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "json": pa.string(),
}
_DELTA_TYPES = {
    "long": "long",
    "double": "double",
    "boolean": "boolean",
    "string": "string",
    "json": "string",
}
_COLUMN, _TYPE, _ORIGINAL = "sluice.column", "sluice.type", "sluice.original"


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of one table version, ``time`` first."""

    columns: tuple[Column, ...] = (TIME,)

    def physical(self) -> list[tuple[str, str]]:
        """Return every physical column (name, type) without ``_overflow``."""
        return [part for column in self.columns for part in column.stored]

    def arrow(self) -> pa.Schema:
        """Return the Arrow schema of a Parquet file that has every column."""
        fields = [pa.field(name, ARROW_TYPES[kind]) for name, kind in self.physical()]
        return pa.schema([*fields, pa.field(OVERFLOW, pa.string())])

    def keys(self) -> dict[str, Column]:
        """Return the columns by the sender's spelling."""
        return {column.original or column.name: column for column in self.columns}

    def with_columns(self, found: Iterable[tuple[str, str]]) -> TableSchema:
        """Add columns for (sender's key, type) pairs, as far as the limit and case twins allow.

        A key that differs from a known one in case only cannot be a column of its own in SQL: it stays in
        ``_overflow``.
        """
        columns = list(self.columns)
        taken = {name for name, _ in self.physical()} | {column.name for column in columns}
        folded = {key.lower() for key in self.keys()}
        for key, kind in found:
            if len(columns) >= MAX_COLUMNS or key.lower() in folded:
                continue
            name = column_name(key, taken)
            taken.add(name)
            folded.add(key.lower())
            columns.append(Column(name, kind, key if key != name else None, ((name, kind),)))
        return TableSchema(tuple(columns))

    def widened(self, names: Iterable[str]) -> TableSchema:
        """Turn the named long columns into double ones."""
        wanted = set(names)
        taken = {name for name, _ in self.physical()}
        columns = []
        for column in self.columns:
            if column.name in wanted and column.type == "long" and column.name != TIME.name:
                part = column_name(f"{column.name}__double", taken)
                taken.add(part)
                column = replace(column, type="double", stored=(*column.stored, (part, "double")))  # noqa: PLW2901 - the copy replaces it
            columns.append(column)
        return TableSchema(tuple(columns))

    def delta_fields(self, known: Iterable[str] = ()) -> list[Field]:
        """Return the Delta fields of the physical columns whose names are not in ``known``."""
        skip = set(known)
        fields = [
            Field(
                name,
                PrimitiveType(_DELTA_TYPES[kind]),
                metadata={
                    _COLUMN: column.name,
                    _TYPE: kind,
                    **({_ORIGINAL: column.original} if column.original is not None else {}),
                },
            )
            for column in self.columns
            for name, kind in column.stored
            if name not in skip
        ]
        return fields if OVERFLOW in skip else [*fields, Field(OVERFLOW, PrimitiveType("string"))]


def from_delta(schema: Schema) -> TableSchema:
    """Read a schema back from the Delta log; other writers' columns keep their type as far as we have it."""
    names_back = {"long": "long", "integer": "long", "short": "long", "byte": "long", "boolean": "boolean"}
    names_back |= {"double": "double", "float": "double"}
    columns: dict[str, Column] = {}
    for field in schema.fields:
        if field.name == OVERFLOW:
            continue
        metadata = field.metadata or {}
        plain = field.type.type if isinstance(field.type, PrimitiveType) else "string"
        kind = str(metadata.get(_TYPE) or names_back.get(plain, "string"))
        name = str(metadata.get(_COLUMN) or field.name)
        original = metadata.get(_ORIGINAL)
        before = columns.get(name)
        stored = (*(before.stored if before else ()), (field.name, kind))
        columns[name] = Column(name, kind, str(original) if original is not None else None, stored)
    time = columns.pop(TIME.name, TIME)
    return TableSchema((time, *columns.values()))


def seeded(seed: Sequence[tuple[str, str]]) -> TableSchema:
    """Return a schema with the given (name, type) columns after ``time``."""
    return TableSchema().with_columns(seed)
