"""What could not be flushed, put aside so that nothing acknowledged is lost and nothing else waits for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from addon.ingest.frames import scan
from addon.ingest.record import Record, decode, encode

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from addon.ingest.disk import Disk
    from addon.ingest.segments import Segment
    from addon.models.tables import TableRef

_OS_ERROR = re.compile(r"os error (\d+)")
_MACHINE_CODES = frozenset({"4", "5", "11", "12", "23", "24", "28", "30", "122"})
"""errno values of a machine in trouble: EINTR, EIO, EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC, EROFS, EDQUOT."""


def is_machines_fault(error: BaseException) -> bool:
    """Tell whether a failure may pass by itself: disk, memory, database; not the data, not a bug.

    delta-rs and database drivers do not raise ``OSError``; they are known by their text and class name.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError | MemoryError) or getattr(seen, "transient", False):
            return True
        found = _OS_ERROR.search(str(seen))
        if type(seen).__name__ == "OperationalError" or (found and found[1] in _MACHINE_CODES):
            return True
        seen = seen.__cause__
    return False


def _account_of(payload: bytes) -> int | None:
    """Return the account that a log's payload belongs to; None when it cannot be read."""
    try:
        return decode(payload).batch.account_id
    except ValueError:
        return None


class Quarantine:
    """The folder ``quarantine`` of a log. Files in it are for an operator; only :meth:`erase` deletes any."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Take the folder; it is created with its first file."""
        self.folder = folder
        self._disk = disk

    def keep_batch(self, record: Record, segment: int) -> Path:
        """Write a batch, as the log had it, to ``<segment>-<batch id>.batch``."""
        path = self._path(f"{segment:020d}-{record.batch_id}.batch")
        descriptor = self._disk.create(path)
        try:
            self._disk.write(descriptor, list(encode(record)))
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        self._disk.sync_folder(self.folder)
        return path

    def keep_rows(self, ref: TableRef, table: pa.Table, segment: int) -> Path:
        """Write a table's typed rows to ``<segment>-<account>.<database>.<table>.parquet``."""
        path = self._path(f"{segment:020d}-{ref.account_id}.{ref.database}.{ref.table}.parquet")
        pq.write_table(table, path, compression="zstd", compression_level=1)
        self._sync(path)
        return path

    def keep_segment(self, segment: Segment) -> Path:
        """Move a whole segment here."""
        path = self._path(segment.path.name)
        segment.path.replace(path)
        self._sync(path)
        return path

    def erase(self, account_id: int, key: int) -> int:
        """Delete all of an account's data; ``key`` seeds the log's CRCs. Return how many files had some.

        Segments hold several accounts' batches: the account's own are overwritten with zeros, and so is what
        cannot be read beside them, since it may be the account's too. A segment without one readable batch
        stays: it may hold the only copy of somebody's rows.
        """
        found = sorted(self.folder.iterdir()) if self.folder.exists() else []
        erased = sum(self._erase_from(path, account_id, key) for path in found)
        if erased:
            self._disk.sync_folder(self.folder)
        return erased

    def _erase_from(self, path: Path, account_id: int, key: int) -> bool:
        if path.suffix == ".wal":
            return self._blank(path, account_id, key)
        if path.suffix == ".batch":
            mine = _account_of(path.read_bytes()) == account_id
        else:
            mine = path.name.partition("-")[2].partition(".")[0] == str(account_id)
        if mine:
            self._disk.remove(path)
        return mine

    def _blank(self, path: Path, account_id: int, key: int) -> bool:
        data = path.read_bytes()
        found = scan(data, key, int(path.stem))
        mine = [one for one in found.frames if _account_of(data[one.start : one.end]) == account_id]
        if mine and len(mine) == len(found.frames):
            self._disk.remove(path)
        elif mine:
            ranges = [(one.start, one.end) for one in mine] + [*found.corrupt, (found.valid_end, len(data))]
            with path.open("r+b") as file:
                for start, end in ranges:
                    file.seek(start)
                    file.write(bytes(end - start))
                file.flush()
                self._disk.sync(file.fileno())
        return bool(mine)

    def _path(self, name: str) -> Path:
        self.folder.mkdir(exist_ok=True, mode=0o700)
        self._disk.sync_folder(self.folder.parent)
        path = self.folder / name
        self._disk.remove(path)  # of an attempt that broke off
        return path

    def _sync(self, path: Path) -> None:
        with path.open("rb") as file:
            self._disk.sync(file.fileno())
        self._disk.sync_folder(self.folder)
