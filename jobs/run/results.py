"""Writing a result: batch by batch into a Parquet file and a hash, so that its size does not matter.

With an output folder nothing but the last million rows of an output is kept in memory; without one, all is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.contracts.errors import EngineError
from jobs.contracts.tables import ColumnType
from jobs.engine.batches import Batches
from jobs.engine.text import query
from jobs.run.hashing import OutputHash, in_key_order

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.contracts.tables import OutputTable
    from jobs.engine.batches import Made
    from jobs.engine.port import Engine

_ARROW = {
    ColumnType.BIGINT: pa.int64(),
    ColumnType.INTEGER: pa.int32(),
    ColumnType.DOUBLE: pa.float64(),
    ColumnType.VARCHAR: pa.string(),
    ColumnType.BOOLEAN: pa.bool_(),
}
#: A row group of the file; so many rows are written, and hashed, at a time.
_ROW_GROUP = 1 << 20
#: An output of more rows is sorted for its hash by the engine, which has temporary files.
_SORTED_HERE = 1 << 22


class Tables(Mapping[str, pa.Table]):
    """The outputs by name; those that were written are read when asked for."""

    def __init__(self, files: Mapping[str, Path], kept: Mapping[str, pa.Table]) -> None:
        """Hold tables, and files in place of others."""
        self._files, self._kept = files, kept

    def __getitem__(self, name: str) -> pa.Table:
        """The table of that name."""
        return self._kept[name] if name in self._kept else pq.read_table(self._files[name])

    def __iter__(self) -> Iterator[str]:
        """The names, in the order in which the outputs were made."""
        return iter(self._files or self._kept)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._files or self._kept)


class Result:
    """An output as it grows."""

    def __init__(self, contract: OutputTable, out: Path | None) -> None:
        """Begin its file, where there is a folder for it."""
        self.contract = contract
        self.rows = 0
        self.file = out / f"{contract.name}.parquet" if out is not None else None
        self._part = out / f".{contract.name}.parquet.part" if out is not None else None
        self._schema = pa.schema(
            [pa.field(column.name, _ARROW[column.type], column.nullable) for column in contract.columns]
        )
        self._hash = OutputHash(self._schema.names)
        self._kept: list[pa.Table] = []

    @property
    def table(self) -> pa.Table:
        """All rows, where there is no file."""
        return pa.concat_tables([self._schema.empty_table(), *self._kept])

    def fill(self, engine: Engine, made: Made) -> OutputHash:
        """Take all rows; returns their hash."""
        try:
            self._take(rows_of(engine, self.contract, made))
            if self._part is not None and self.file is not None:
                self._part.replace(self.file)
        finally:
            if self._part is not None:
                self._part.unlink(missing_ok=True)
        if not _is_in_key_order(self.contract):
            self._hash_in_key_order(engine)
        return self._hash

    def _take(self, batches: Iterator[pa.RecordBatch]) -> None:
        """Write, or keep, and hash: one group of rows while the next one is computed."""
        ordered = _is_in_key_order(self.contract)
        with (
            nullcontext() if self._part is None else pq.ParquetWriter(self._part, self._schema) as writer,
            ThreadPoolExecutor(1, "hash-rows") as hashing,
            ThreadPoolExecutor(1, "write-rows") as writing,
        ):
            pending: list[Future[None]] = []
            for group in _groups(batches):
                table = self._checked(group)
                self.rows += table.num_rows
                for work in pending:
                    work.result()
                pending = [hashing.submit(self._hash.update, table)] if ordered else []
                if writer is not None:
                    pending.append(writing.submit(writer.write_table, table, _ROW_GROUP))
                else:
                    self._kept.append(table)
            for work in pending:
                work.result()

    def _checked(self, group: pa.Table) -> pa.Table:
        """In the contract's types, or refused."""
        for column in self.contract.columns:
            if not column.nullable and group.column(column.name).null_count:
                raise EngineError(
                    f"output {self.contract.name}: NULL in {column.name}, which the contract rules out"
                )
        nullable = pa.schema([field.with_nullable(True) for field in self._schema])
        return group.select(self._schema.names).cast(nullable).cast(self._schema)

    def _hash_in_key_order(self, engine: Engine) -> None:
        """The hash of rows that come in another order than their key's."""
        if self.file is None or self.rows <= _SORTED_HERE:
            whole = self.table if self.file is None else pq.read_table(self.file)
            self._hash.update(in_key_order(whole, self.contract.key))
            return
        name = f"{self.contract.name}__written"
        engine.register_parquet(name, [self.file])
        for batch in engine.stream(_select(engine, self.contract, name, ", ".join(self.contract.key))):
            self._hash.update(batch)


def rows_of(engine: Engine, contract: OutputTable, made: Made) -> Iterator[pa.RecordBatch]:
    """The rows of an output in its order."""
    if isinstance(made, Batches):
        return made.rows
    return engine.stream(_select(engine, contract, made, contract.order))


def _select(engine: Engine, contract: OutputTable, relation: str, order: str) -> str:
    columns = ", ".join(engine.dialect.identifier(column.name) for column in contract.columns)
    return query("staging", "result", columns=columns, relation=relation, order=order)


def _is_in_key_order(contract: OutputTable) -> bool:
    return contract.order.split(", ") == list(contract.key)


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches gathered to row groups."""
    gathered: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        gathered.append(batch)
        rows += batch.num_rows
        if rows >= _ROW_GROUP:
            yield pa.Table.from_batches(gathered)
            gathered, rows = [], 0
    if gathered:
        yield pa.Table.from_batches(gathered)
