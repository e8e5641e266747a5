"""In-memory twins of ``Catalog`` and ``UploadLedger``, for tests, benchmarks and trials."""

from __future__ import annotations

import threading
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from addon.models.moves import Located, default_place

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from addon.models.moves import TableMove
    from addon.models.tables import Column, TableRef

_KEPT_S = 7 * 86_400


class MemoryCatalog:
    """Tables as a set; counts as the flushes reported them."""

    def __init__(self) -> None:
        """Start empty."""
        self.tables: set[TableRef] = set()
        self.columns: dict[TableRef, Sequence[Column]] = {}
        self.rows: dict[TableRef, int] = {}
        self.last_time: dict[TableRef, int] = {}
        self.misfits: dict[TableRef, Counter[str]] = {}
        self._marks: dict[tuple[TableRef, str], int] = {}

    def ensure_table(self, ref: TableRef) -> Located:
        """Create the table where it is missing."""
        self.tables.add(ref)
        return Located(0, ref, default_place(ref))

    def locate(self, ref: TableRef) -> Located | None:
        """Return the table, which lies under its name; numbers are not kept."""
        return Located(0, ref, default_place(ref)) if ref in self.tables else None

    def locate_ids(self, ids: Collection[int]) -> Mapping[int, Located]:  # noqa: ARG002 - the port's
        """Return none: there are no numbers."""
        return {}

    def table_exists(self, ref: TableRef) -> bool:
        """Tell whether the table is there."""
        return ref in self.tables

    def moves(self, account_ids: frozenset[int]) -> Sequence[TableMove]:  # noqa: ARG002 - the port's
        """Return none: nothing gets another name here."""
        return ()

    def record_flush(  # noqa: PLR0917 - the facts of one commit
        self,
        ref: TableRef,
        columns: Sequence[Column],
        rows: int,
        last_time: int | None,
        mark: tuple[str, int] | None = None,
        misfits: Mapping[str, int] = MappingProxyType({}),
        place: str | None = None,  # noqa: ARG002 - nothing gets another name here
        size: int = 0,  # noqa: ARG002 - nobody is billed here
    ) -> None:
        """Note what a flush committed, a segment once."""
        if mark is not None:
            writer, segment = mark
            if self._marks.get((ref, writer), -1) >= segment:
                return
            self._marks[ref, writer] = segment
        self.columns[ref] = columns
        self.misfits.setdefault(ref, Counter()).update(misfits)
        self.rows[ref] = self.rows.get(ref, 0) + rows
        if last_time is not None:
            self.last_time[ref] = max(last_time, self.last_time.get(ref, last_time))


class MemoryUploadLedger:
    """Upload ids of the last 7 days of the times it was told; lost with the process, unlike the real one."""

    def __init__(self) -> None:
        """Start empty."""
        self._guard = threading.Lock()
        self._known: dict[tuple[int, str, str, str], tuple[str, float]] = {}

    def seen(self, account_id: int, database: str, table: str, upload_id: str) -> str | None:
        """Return the body's SHA-256 that came with this id, or None."""
        with self._guard:
            known = self._known.get((account_id, database, table, upload_id))
        return known[0] if known else None

    def record(self, entries: Sequence[tuple[int, str, str, str, str]], now: float) -> None:
        """Keep the entries; repeats are ignored, expired ones dropped."""
        with self._guard:
            for account, database, table, upload_id, digest in entries:
                self._known.setdefault((account, database, table, upload_id), (digest, now))
            self._known = {key: value for key, value in self._known.items() if now - value[1] < _KEPT_S}
