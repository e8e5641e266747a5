"""Takes rows out of a table whose time is over: whole files at once, parts of files sparingly.

A file that lies wholly before the limit leaves in one commit with all others of its kind. One that reaches
over the limit is rewritten when more than half of its time has expired, or when it was last written more than
a day ago: so at most once a day each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from addon.warehouse.merge import batches, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from addon.models.tables import TableRef
    from addon.warehouse.files import FileSet
    from addon.warehouse.store import DeltaWarehouse

REWRITE_S = 86_400.0
_MOST_FILES = 64
"""Rewritten in one commit."""
_ROWS = 1 << 17


class Expiry:
    """Expires rows of a warehouse's tables; blocking. What conflicts with others waits for the next call."""

    def __init__(self, warehouse: DeltaWarehouse) -> None:
        """Expire in ``warehouse``."""
        self._warehouse = warehouse

    def rows(self, ref: TableRef, before: int, now: float) -> int:
        """Take out the rows whose time lies before a Unix second; return how many."""
        with self._warehouse.rewriter.alone(ref):
            return self.whole_files(ref, before) + self._parts(ref, before, now)

    def whole_files(self, ref: TableRef, before: int, *, written_before: float | None = None) -> int:
        """Take out the files whose rows all lie before a Unix second; return how many rows.

        With ``written_before`` (Unix seconds), only files that have not been written since.
        """
        files = self._files(ref)
        if files is None:
            return 0
        old = files.high < before
        if written_before is not None:
            old &= files.modified < written_before * 1000
        names = files.names.filter(old).to_pylist()
        return int(files.rows[old].sum()) if self._warehouse.rewriter.drop_files(ref, names) else 0

    def _parts(self, ref: TableRef, before: int, now: float) -> int:
        files = self._files(ref)
        if files is None:
            return 0
        reach = (files.low < before) & (files.high >= before)
        spans = np.maximum(files.high.astype(float) - files.low, 1.0)
        mostly = (before - files.low.astype(float)) / spans > 0.5  # noqa: PLR2004  (half)
        rested = files.modified < (now - REWRITE_S) * 1000
        chosen = np.flatnonzero(reach & (mostly | rested))[:_MOST_FILES].tolist()
        return self._warehouse.rewriter.delete_rows(ref, self._expired(ref, files, chosen, before)) or 0

    def _expired(
        self, ref: TableRef, files: FileSet, chosen: Sequence[int], before: int
    ) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """Yield each chosen file with the numbers of its expired rows; a file without any is passed over."""
        for name in files.names.take(np.array(chosen, dtype=np.int64)).to_pylist():
            path = self._warehouse.folder(ref) / name
            with self._warehouse.reading() as lease:
                lease.fetch([path])
                numbers = _numbers(path, before)
            if len(numbers):
                yield name, numbers

    def _files(self, ref: TableRef) -> FileSet | None:
        with self._warehouse.locked(ref) as log:
            state = log.state()
        return None if state is None else state.files


def _numbers(path: Path, before: int) -> NDArray[np.int64]:
    found, begin = [np.empty(0, np.int64)], 0
    with open_file(path) as opened:
        for batch in batches(opened, path, ["time"], _ROWS):
            times = batch["time"].fill_null(before).to_numpy(zero_copy_only=False)
            found.append(np.flatnonzero(times < before) + begin)
            begin += len(times)
    return np.concatenate(found)
