"""The parts of a session to typed Parquet files in the table's folder, which no version names yet.

Memory does not grow with the parts: records are typed about 8 MiB at a time and written when about 32 MiB of
typed rows wait. The schema grows from one batch to the next; what an earlier file lacks reads as NULL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from addon.bulk.blocks import blocks
from addon.bulk.records import BadRecord, decode
from addon.ingest.json_lines import as_array
from addon.models.bulk import StagedFile
from addon.warehouse.names import OVERFLOW
from addon.warehouse.store import Prepared
from addon.warehouse.typed import Typer, aligned
from platform_core.base import failpoints

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from addon.bulk.blocks import Block
    from addon.bulk.errors import ErrorRecords
    from addon.models.tables import TableRef
    from addon.warehouse.schema import TableSchema
    from addon.warehouse.store import DeltaWarehouse

TYPE_BYTES = 8 << 20
"""Bytes of JSON that are typed at once."""
TYPE_ROWS = 65_536
FILE_BYTES = 32 << 20
"""Bytes of typed rows in memory that become one file."""
FILE_ROWS = 2_000_000
_TYPING_MEMORY = "1GB"


@dataclass(slots=True)
class _Waiting:
    """Decoded records that are not typed yet, and where each line came from."""

    lines: list[bytes] = field(default_factory=list)
    sources: list[tuple[str, Block, list[int]]] = field(default_factory=list)
    size: int = 0
    rows: int = 0

    def source(self, row: int) -> tuple[str, BadRecord]:
        """Return the part and the record of a line."""
        for part, block, places in self.sources:
            if row < len(places):
                return part, BadRecord(block.object(places[row]), block.first + places[row], "")
            row -= len(places)
        raise IndexError(row)


class Stager:
    """One perform: ``add`` each part, then ``finish``."""

    def __init__(
        self,
        warehouse: DeltaWarehouse,
        ref: TableRef,
        name: str,
        errors: ErrorRecords,
        stopped: Callable[[], None],
    ) -> None:
        """Write files whose names begin with ``name``; ``stopped`` raises when the work shall end."""
        self._warehouse = warehouse
        self._ref = ref
        self._name = name
        self._errors = errors
        self._stopped = stopped
        self._typer = Typer(1, _TYPING_MEMORY)
        begun = warehouse.prepare(ref, None)
        self.schema: TableSchema = begun.schema
        self.prefix = begun.prefix
        self._waiting = _Waiting()
        self._typed: list[pa.Table] = []
        self._typed_bytes = self._typed_rows = 0
        self.files: list[StagedFile] = []
        self.rows = 0
        self.misfits = 0
        """Rows that hold a value which is in no column: of another type, or beyond the most columns."""

    def close(self) -> None:
        """Free the typing engine."""
        self._typer.close()

    def add(self, part: str, path: Path) -> None:
        """Take a part's records.

        Raises:
            InvalidInput, TooLarge: the file is not what was uploaded any more.
        """
        for block in blocks(path):
            self._stopped()
            found = decode(block)
            for bad in found.bad:
                self._errors.add(part, bad)
            if found.places:
                waiting = self._waiting
                waiting.lines.append(found.lines)
                waiting.sources.append((part, block, found.places))
                waiting.size += len(found.lines)
                waiting.rows += len(found.places)
                if waiting.size >= TYPE_BYTES or waiting.rows >= TYPE_ROWS:
                    self._type()

    def finish(self) -> None:
        """Write what is left."""
        self._type()
        self._write()

    def _type(self) -> None:
        waiting, self._waiting = self._waiting, _Waiting()
        if not waiting.rows:
            return
        texts = as_array(b"".join(waiting.lines))
        typed = self._typer.type_lines(texts, pa.array(np.zeros(len(texts), np.int64)), self.schema)
        for rejected in typed.rejected:
            part, record = waiting.source(rejected.row)
            self._errors.add(part, BadRecord(record.data, record.number, rejected.reason))
        self.schema = typed.schema
        self._typed.append(typed.table)
        self._typed_bytes += typed.table.nbytes
        self._typed_rows += typed.table.num_rows
        if self._typed_bytes >= FILE_BYTES or self._typed_rows >= FILE_ROWS:
            self._write()

    def _write(self) -> None:
        tables, self._typed = self._typed, []
        self._typed_bytes = self._typed_rows = 0
        self._stopped()
        table = pa.concat_tables([aligned(one, self.schema) for one in tables]) if tables else None
        if table is None or not table.num_rows:
            return
        failpoints.hit("bulk.perform.write")
        prepared = Prepared(self._ref, table, self.schema, prefix=self.prefix)
        file = self._warehouse.write(prepared, f"{self._name}-{len(self.files):06d}")
        self.files.append(StagedFile(file.name, file.size, file.rows, file.min_time, file.max_time))
        self.rows += file.rows
        self.misfits += table.num_rows - int(pc.sum(pc.is_null(table[OVERFLOW])).as_py() or 0)
