"""Whatever puts files in the place of others: merges, and deletions of rows. One at a time per table."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from addon.warehouse.compaction import carry_out
from addon.warehouse.deletion import without_rows
from addon.warehouse.delta import DataFile, DeltaLog
from addon.warehouse.merge import Damaged
from addon.warehouse.merge_plan import Merge, candidates, described, next_merge
from platform_core.base import failpoints
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from addon.models.objects import ObjectStore
    from addon.models.tables import TableRef
    from addon.warehouse.files import TableState

FILE_DAMAGED = "table_file_damaged"
log = get_logger(__name__)


class OpenTable:
    """A table that this process has looked at."""

    def __init__(self, objects: ObjectStore, prefix: str) -> None:
        """Take the table's folder; nothing is read before its log is asked."""
        self.lock = threading.RLock()
        self.log = DeltaLog(objects, prefix)
        self.rewriting = threading.Lock()
        """Held by whoever replaces files; commits of new rows go on."""
        self.damaged: set[str] = set()
        """Files that a merge found damaged; they are not merged."""


def _plan(own: OpenTable, state: TableState) -> Merge | None:
    return next_merge([file for file in candidates(state.files) if file.name not in own.damaged])


class Rewriter:
    """Merges and deletes; thread-safe, blocking."""

    def __init__(self, objects: ObjectStore, opened: Callable[[TableRef], OpenTable]) -> None:
        """``opened`` returns a table's one object."""
        self._objects = objects
        self._opened = opened
        self.merged_bytes = 0
        """Bytes that merges have written; with those of the flushes they give the write amplification."""

    @contextmanager
    def alone(self, ref: TableRef) -> Iterator[None]:
        """Keep this process's merges from replacing files of the table meanwhile; may wait for one."""
        with self._opened(ref).rewriting:
            yield

    def pays(self, ref: TableRef) -> bool:
        """Tell whether there is a merge to do."""
        own = self._opened(ref)
        with own.lock:
            state = own.log.state()
        return state is not None and _plan(own, state) is not None

    def compact(self, ref: TableRef) -> int:
        """Do the merge that pays most now; return how many files it merged, 0 when none pays.

        Commits and snapshots go on meanwhile. The old files stay for running queries until they are swept
        away. Call it again until it returns 0; other tables' turns come between.
        """
        own = self._opened(ref)
        if not own.rewriting.acquire(blocking=False):
            return 0
        try:
            return self._compact(own)
        finally:
            own.rewriting.release()

    def _compact(self, own: OpenTable) -> int:
        with own.lock:
            state = own.log.state()
            identity = own.log.identity()
        if state is None:
            return 0
        plan = _plan(own, state)
        if plan is None:
            return 0
        failpoints.hit("compaction.pre")
        try:
            done = carry_out(self._objects, own.log.prefix, plan, state.schema)
        except Damaged as error:
            own.damaged.add(error.name)
            log.exception(FILE_DAMAGED, table=own.log.prefix, file=error.name)
            return 0
        if not self._swap(own, identity, [file.name for file in done.old], done.new):
            return 0
        self.merged_bytes += done.written
        return len(done.old)

    def delete_rows(self, ref: TableRef, doomed: Iterable[tuple[str, NDArray[np.int64]]]) -> int | None:
        """Delete rows, given as file names each with row numbers; return how many, None on a conflict.

        One commit. A conflict is a file that is not in the table any more: look for the rows anew. Versions
        of before still have them until their time is over.

        Raises:
            Damaged: a file does not hold what the log says.
        """
        own = self._opened(ref)
        with own.lock:
            state = own.log.state()
            identity = own.log.identity()
        if state is None:
            return None
        places = {name: place for place, name in enumerate(state.files.names.to_pylist())}
        old: list[str] = []
        new: list[DataFile] = []
        count = 0
        for name, rows in doomed:
            if name not in places:
                self._discard(own, new)
                return None
            (file,) = described(state.files, [places[name]])
            left = without_rows(self._objects, own.log.prefix, file, rows, state.schema)
            old.append(name)
            new += [] if left is None else [left]
            count += len(rows)
        swapped = not old or self._swap(own, identity, old, new, new_data=True)
        return count if swapped else None

    def drop_files(self, ref: TableRef, names: Sequence[str]) -> bool:
        """Take whole files out of the table in one commit; False on a conflict."""
        own = self._opened(ref)
        with own.lock:
            identity = own.log.identity()
        return not names or self._swap(own, identity, names, [], new_data=True)

    def _swap(
        self,
        own: OpenTable,
        identity: str | None,
        old: Sequence[str],
        new: Sequence[DataFile],
        *,
        new_data: bool = False,
    ) -> bool:
        """Commit new files in the place of old ones; they are deleted when the table is not what it was."""
        failpoints.hit("compaction.swap")
        with own.lock:
            # Dropped meanwhile, and perhaps made again; or another process replaced the same files.
            same = own.log.identity() == identity
            if same and own.log.replace(old, new, new_data=new_data):
                failpoints.hit("compaction.post")
                return True
        self._discard(own, new)
        return False

    def _discard(self, own: OpenTable, files: Sequence[DataFile]) -> None:
        self._objects.delete([f"{own.log.prefix}/{file.name}" for file in files])
