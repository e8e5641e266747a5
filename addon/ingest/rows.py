"""What decoding hands to the flush: JSON lines and ready columns per table, and dead letters."""

from __future__ import annotations

import functools
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from addon.models.tables import DEAD_LETTERS, LOGS_DATABASE, TableRef
from addon.warehouse.store import Lines

if TYPE_CHECKING:
    from collections.abc import Sequence

DEAD_LETTER_COLUMNS = (
    ("reason", "string"),
    ("source", "string"),
    ("database", "string"),
    ("table", "string"),
    ("body", "string"),
    ("batch", "string"),
)


_KIND = re.compile(r"(?:line \d+: )?([a-z]+(?:_[a-z][a-z0-9]*)*)(?:_\d+)?(?:$|:| at )")


@functools.lru_cache(1024)
def kind_of(reason: str) -> str:
    """Return the first words of a dead letter's reason without what differs from one to the next."""
    found = _KIND.match(reason)
    return found[1] if found else "other"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where lines came from, for the dead letters among them."""

    source: str
    batch_id: str
    received_at: int


@dataclass(slots=True)
class _Chunk:
    texts: pa.StringArray
    origin: Origin


@dataclass(slots=True)
class TableRows:
    """Everything of one segment for one table."""

    chunks: list[_Chunk] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    create: bool = False
    """Whether the table is made when missing; an import's table must exist already."""

    def lines(self) -> Lines | None:
        """Return the chunks as one array, None when there are none."""
        if not self.chunks:
            return None
        arrays = [chunk.texts for chunk in self.chunks]
        texts = pa.concat_arrays(arrays) if len(arrays) > 1 else arrays[0]
        times = np.repeat(
            np.array([chunk.origin.received_at for chunk in self.chunks], np.int64),
            [len(chunk.texts) for chunk in self.chunks],
        )
        return Lines(texts, pa.array(times))

    def origin_of(self, row: int) -> tuple[Origin, str]:
        """Return where line ``row`` of ``lines()`` came from, and its text."""
        for chunk in self.chunks:
            if row < len(chunk.texts):
                return chunk.origin, str(chunk.texts[row])
            row -= len(chunk.texts)
        raise IndexError(row)


@dataclass(slots=True)
class Decoded:
    """The rows of one segment, by table."""

    dead_letter_bytes: int = 8 << 10
    dead_letters_per_batch: int = 1_000
    tables: defaultdict[TableRef, TableRows] = field(default_factory=lambda: defaultdict(TableRows))
    dead: defaultdict[int, list[tuple[int, str, str, str, str, str, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _per_batch: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    dead_kinds: Counter[str] = field(default_factory=Counter)
    """How many dead letters there are of each kind of reason, also those that are only counted."""

    @property
    def dead_total(self) -> int:
        """All dead letters, also those that are only counted."""
        return self.dead_kinds.total()

    def add_lines(self, ref: TableRef, texts: pa.StringArray, origin: Origin, *, create: bool) -> None:
        """Add JSON objects, one per element, already known to be valid JSON in UTF-8."""
        if len(texts):
            rows = self.tables[ref]
            rows.chunks.append(_Chunk(texts, origin))
            rows.create |= create

    def add_table(self, ref: TableRef, table: pa.Table) -> None:
        """Add rows in the columns of a table of our own."""
        if table.num_rows:
            rows = self.tables[ref]
            rows.tables.append(table)
            rows.create = True

    def add_dead(
        self, account: int, origin: Origin, reason: str, body: bytes, *, ref: TableRef | None = None
    ) -> None:
        """Keep bytes that cannot be a row, with the reason; beyond a batch's cap they are only counted."""
        self.dead_kinds[kind_of(reason)] += 1
        self._per_batch[origin.batch_id] += 1
        count = self._per_batch[origin.batch_id]
        if count > self.dead_letters_per_batch:
            reason, body = "more_dead_letters_in_this_batch", b""
            if count > self.dead_letters_per_batch + 1:
                return
        database, table = (ref.database, ref.table) if ref is not None else ("", "")
        text = body[: self.dead_letter_bytes].decode("utf-8", "backslashreplace")
        self.dead[account].append(
            (origin.received_at, reason, origin.source, database, table, text, origin.batch_id)
        )

    def dead_tables(self) -> list[tuple[TableRef, pa.Table]]:
        """Return the dead letters as rows of each account's ``logs.dead_letters``."""
        names = ["time", *(name for name, _ in DEAD_LETTER_COLUMNS)]
        types = [pa.int64(), *(pa.string() for _ in DEAD_LETTER_COLUMNS)]
        return [
            (
                TableRef(account, LOGS_DATABASE, DEAD_LETTERS),
                pa.table(
                    [pa.array(column, kind) for column, kind in zip(_columns(letters), types, strict=True)],
                    names=names,
                ),
            )
            for account, letters in self.dead.items()
        ]


def _columns(letters: Sequence[tuple[int, str, str, str, str, str, str]]) -> list[Sequence[object]]:
    return [list(column) for column in zip(*letters, strict=True)]
