"""Merges Parquet files into one sorted stream of rows, in bounded memory.

The order is (time, arrival): rows of one second keep the order of their files, and that of the rows within
a file. A file is opened when the stream reaches its first row and closed after its last one, so that files
whose times hardly overlap, which is the common case, never lie in memory together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from addon.warehouse.typed import aligned
from platform_core.base.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from addon.warehouse.schema import TableSchema

_BATCH_BYTES = 512 << 10
_MOST_ROWS, _LEAST_ROWS = 16_384, 256
"""Rows read at a time from one file."""
_BUFFER = 64 << 10
_PAGE = 1 << 20
_DECODED = 10
"""What texts may take in memory against their size as Parquet encodes them."""


class Damaged(SluiceError):
    """A table file does not hold what the log says."""

    def __init__(self, name: str, what: object) -> None:
        """Take the file's name and what is wrong with it."""
        super().__init__(f"The table file {name} is damaged: {what}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A file after a look at its times: where its rows lie, and what reading it costs in memory."""

    path: Path
    low: int
    high: int
    windows: Counter[int]
    """Rows by window."""
    is_sorted: bool
    open_bytes: int
    """Roughly what an open reader of it holds."""

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return self.windows.total()


def open_file(path: Path) -> pq.ParquetFile:
    """Open a file for reading in pieces, with its page checksums verified.

    Raises:
        Damaged: it is no Parquet file.
    """
    try:
        return pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False, buffer_size=_BUFFER)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Damaged(path.name, error) from error


def survey(path: Path, window_s: int) -> Surveyed:
    """Read a file's times; ``window_s`` is a window's length in seconds.

    Raises:
        Damaged: a checksum is wrong, or a row has no time.
    """
    windows: Counter[int] = Counter()
    low = high = last = None
    is_sorted = True
    with open_file(path) as file:
        for batch in batches(file, path, ["time"], 1 << 17):
            times = _times(batch, path)
            if not len(times):
                continue
            first_time, last_time = int(times.min()), int(times.max())
            is_sorted &= bool((times[1:] >= times[:-1]).all()) and (last is None or int(times[0]) >= last)
            last = int(times[-1])
            low = first_time if low is None else min(low, first_time)
            high = last_time if high is None else max(high, last_time)
            numbers, counts = np.unique(times // window_s, return_counts=True)
            windows.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        open_bytes = _open_bytes(file.metadata, is_sorted=is_sorted)
    return Surveyed(path, low or 0, high or 0, windows, is_sorted, open_bytes)


def _open_bytes(metadata: pq.FileMetaData, *, is_sorted: bool) -> int:
    groups = [int(metadata.row_group(index).total_byte_size) for index in range(metadata.num_row_groups)]
    if not is_sorted:
        return 3 * sum(groups)
    pages = int(metadata.num_columns) * (_PAGE + _BUFFER)
    return min(max(groups, default=0), pages) + min(_DECODED * max(groups, default=0), 2 * _BATCH_BYTES)


def batches(
    file: pq.ParquetFile, path: Path, columns: list[str] | None, rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows in pieces of at most ``rows``.

    Raises:
        Damaged: a checksum is wrong.
    """
    try:
        yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Damaged(path.name, error) from error


def _times(batch: pa.RecordBatch | pa.Table, path: Path) -> NDArray[np.int64]:
    column = batch["time"]
    if column.null_count or column.type != pa.int64():
        raise Damaged(path.name, "it has rows without a time")
    times: NDArray[np.int64] = column.to_numpy()
    return times


def affordable(files: Sequence[Surveyed], budget: int) -> int:
    """Return how many of the files, from the first on, ``budget`` bytes allow to merge; at least two."""
    for count in range(len(files), 2, -1):
        if _peak(files[:count]) <= budget:
            return count
    return min(len(files), 2)


def _peak(files: Sequence[Surveyed]) -> int:
    """Return the most that is open at one moment of time."""
    steps = sorted(
        [(file.low, 0, file.open_bytes) for file in files]
        + [(file.high, 1, -file.open_bytes) for file in files]
    )
    held = most = 0
    for _, _, change in steps:
        held += change
        most = max(most, held)
    return most


class _Source:
    """One file's rows, in the order of time; those read but not taken yet are in ``times`` and ``rows``."""

    def __init__(self, surveyed: Surveyed, schema: TableSchema) -> None:
        self.low = surveyed.low
        self._surveyed = surveyed
        self._schema = schema
        self._reader: Iterator[pa.Table] | None = None
        self.times: NDArray[np.int64] = np.empty(0, np.int64)
        self.rows: pa.Table | None = None
        self.ended = False

    def fill(self) -> None:
        """Read on when everything was taken."""
        if self._reader is None:
            self._reader = self._read()
        while not len(self.times) and not self.ended:
            self.rows = next(self._reader, None)
            if self.rows is None:
                self.ended = True
            else:
                self.times = _times(self.rows, self._surveyed.path)

    def take(self, count: int) -> pa.Table:
        """Return the next ``count`` of the rows that were read."""
        if self.rows is None:
            raise ValueError("nothing was read")
        taken = self.rows.slice(0, count)
        self.rows, self.times = self.rows.slice(count), self.times[count:]
        return taken

    def _read(self) -> Iterator[pa.Table]:
        path = self._surveyed.path
        with open_file(path) as file:
            width = sum(file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups))
            rows = _BATCH_BYTES * max(file.metadata.num_rows, 1) // max(2 * width, 1)
            count = max(_LEAST_ROWS, min(_MOST_ROWS, rows))
            pieces = (
                aligned(pa.Table.from_batches([batch]), self._schema)
                for batch in batches(file, path, None, count)
            )
            if self._surveyed.is_sorted:
                yield from pieces
            else:  # another writer's: sorted as a whole, which `open_bytes` counts
                whole = pa.concat_tables(pieces)
                yield whole.take(pa.array(np.argsort(_times(whole, path), kind="stable")))


def merged(files: Sequence[Surveyed], schema: TableSchema) -> Iterator[pa.Table]:
    """Yield all rows of the files in the order of (time, the files' order, the rows' order), in pieces.

    Raises:
        Damaged: a checksum is wrong.
    """
    waiting = sorted((_Source(file, schema) for file in files), key=lambda source: source.low, reverse=True)
    order = {source: place for place, source in enumerate(_in_order(waiting, files))}
    active: list[_Source] = []
    while waiting or active:
        if not active:
            _open_next(waiting, active)
        bound = _bound(waiting, active)
        active.sort(key=order.__getitem__)
        yield from _before(active, bound)
        for source in active:
            yield from _at(source, bound)
        for source in active:
            source.fill()
        active = [source for source in active if not source.ended]


def _in_order(sources: Sequence[_Source], files: Sequence[Surveyed]) -> list[_Source]:
    by_file = {id(source._surveyed): source for source in sources}  # noqa: SLF001  (of this module)
    return [by_file[id(file)] for file in files]


def _open_next(waiting: list[_Source], active: list[_Source]) -> None:
    source = waiting.pop()
    source.fill()
    if not source.ended:
        active.append(source)


def _bound(waiting: list[_Source], active: list[_Source]) -> int:
    """Open every file that begins before what is known of the open ones ends; return where that is."""
    while True:
        bound = min((int(source.times[-1]) for source in active), default=2**63 - 1)
        if not waiting or waiting[-1].low > bound:
            return bound
        _open_next(waiting, active)


def _before(active: Sequence[_Source], bound: int) -> Iterator[pa.Table]:
    """Yield the rows of before ``bound``, sorted; all of them have been read."""
    parts, times = [], []
    for source in active:
        count = int(np.searchsorted(source.times, bound, side="left"))
        if count:
            times.append(source.times[:count])
            parts.append(source.take(count))
    if len(parts) == 1:
        yield parts[0]
    elif parts:
        order = np.argsort(np.concatenate(times), kind="stable")
        yield pa.concat_tables(parts).combine_chunks().take(pa.array(order))


def _at(source: _Source, bound: int) -> Iterator[pa.Table]:
    """Yield a source's rows of the second ``bound``, reading on as long as there are more of them."""
    while True:
        source.fill()
        count = int(np.searchsorted(source.times, bound, side="right"))
        if not count:
            return
        yield source.take(count)
