"""The commit of a session: one Delta commit for all its files, exactly once however often it is begun.

The table's log carries the session's token as a writer, so a repeat adds nothing. The counts, and that the
session is committed, are one transaction afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from addon.bulk.staging import same_records
from addon.models.bulk import BulkState
from addon.warehouse.delta import DataFile
from addon.warehouse.schema import TableSchema
from addon.warehouse.union import schema_from_text, union
from platform_core.base import failpoints
from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from addon.bulk.rooms import BulkRooms
    from addon.bulk.staging import Staging
    from addon.models.bulk import BulkSession, Performed

STAGED_FOR_S = 5 * 3_600.0
"""Seconds that staged files are sure to be there; the warehouse sweeps what no version names after 6.25 h."""
_ATTEMPTS = 4
_SEQUENCE = 1


class Committer:
    """Commits sessions that are marked as committing; blocking."""

    def __init__(self, rooms: BulkRooms, staging: Staging) -> None:
        """Take what a commit touches."""
        self._store, self._catalog, self._files = rooms.store, rooms.catalog, rooms.files
        self._warehouse, self._clock = rooms.warehouse, rooms.clock
        self._staging = staging

    def commit(self, token: str, stopped: Callable[[], None]) -> None:
        """Finish the commit of the session with this token, unless it is finished already or gone.

        Raises:
            NotFound: the table is gone; nothing was committed to it.
            BrokenPart: the rows had to be typed anew, and a part cannot be read.
            Unavailable, OSError: call again.
        """
        session = self._store.by_token(token)
        if session is None or session.state is not BulkState.COMMITTING:
            return
        failpoints.hit("bulk.commit.begun")
        done, schema = self._into_table(session, stopped)
        failpoints.hit("bulk.commit.pre_publish")
        newest = max((file.max_time for file in done.files), default=None)
        self._store.finish_commit(session, schema.columns, done.valid_records, newest)
        failpoints.hit("bulk.commit.post")
        self._files.remove(session, [part.file for part in self._store.parts(session.id)])

    def _into_table(self, session: BulkSession, stopped: Callable[[], None]) -> tuple[Performed, TableSchema]:
        """Make the session's rows part of its table; return what was staged, and the table's schema."""
        ref, writer = session.ref, f"bulk-{session.token}"
        done = session.performed
        assert done is not None  # noqa: S101  (a session comes to committing from ready only)
        for _ in range(_ATTEMPTS):
            stopped()
            table_id = self._catalog.table(ref).id
            now = self._warehouse.prepare(ref, None)
            schema = now.schema
            if not done.files or self._warehouse.committed(ref, writer, _SEQUENCE):
                return done, schema
            both = union(schema, schema_from_text(done.schema))
            fresh = self._clock.now() - done.staged_at < STAGED_FOR_S
            same = (table_id, now.prefix) == (done.table_id, done.prefix)
            if both is None or not fresh or not same or not self._stored(done):
                done = self._again(session, done, stopped)
                continue
            files = [DataFile(one.name, one.size, one.rows, one.min_time, one.max_time) for one in done.files]
            try:
                self._warehouse.commit_files(ref, files, both, writer, _SEQUENCE, prefix=done.prefix)
            except Unavailable:
                if self._warehouse.prepare(ref, None).schema == schema:
                    raise
                continue  # the table's columns have changed under it
            return done, both
        raise Unavailable(f"The table {ref.table} is being changed by others.", hint="Retry after 2 seconds.")

    def _stored(self, done: Performed) -> bool:
        """Tell whether every file is there: a log that names one that is not cannot be read any more."""
        objects = self._warehouse.objects
        return all(objects.stamp(f"{done.prefix}/{file.name}") is not None for file in done.files)

    def _again(self, session: BulkSession, done: Performed, stopped: Callable[[], None]) -> Performed:
        """Type the parts anew for the table as it is now."""
        again, _ = self._staging.stage(session, stopped)
        if again.errors_file is not None and done.errors_file is not None:
            self._files.remove(session, [again.errors_file])
        again = same_records(done, again)
        self._store.restage(session, again)
        return again
