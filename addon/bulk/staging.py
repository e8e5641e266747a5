"""One staging of a session: all its parts read, typed for the table as it is now, written beside it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from addon.bulk.errors import ErrorRecords
from addon.bulk.stage import Stager
from addon.models.bulk import Performed
from addon.warehouse.schema import MAX_COLUMNS
from addon.warehouse.union import schema_text
from platform_core.base.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from addon.bulk.rooms import BulkRooms
    from addon.models.bulk import BulkSession


class BrokenPart(UserError):
    """An uploaded part cannot be read any more."""


class Staging:
    """Stages sessions; blocking."""

    def __init__(self, rooms: BulkRooms) -> None:
        """Take what knows the parts, the table, the files and the schema."""
        self._rooms = rooms

    def stage(self, session: BulkSession, stopped: Callable[[], None]) -> tuple[Performed, str]:
        """Return what was staged, and a note for people; ``stopped`` raises when the work shall end.

        Raises:
            NotFound: the table is gone.
            BrokenPart: a part is not what was uploaded.
        """
        rooms = self._rooms
        began = rooms.clock.now()
        table_id = rooms.catalog.table(session.ref).id
        parts = rooms.store.parts(session.id)
        name = f"bulk-{session.token}-{uuid.uuid4().hex[:8]}"
        draft = rooms.files.draft()
        with ErrorRecords(draft) as errors:
            stager = Stager(rooms.warehouse, session.ref, name, errors, stopped)
            try:
                for part in parts:
                    try:
                        with rooms.files.reading(session, [part.file]) as (path,):
                            stager.add(part.name, path)
                    except UserError as error:
                        raise _broken(part.name, error.message) from error
                    except FileNotFoundError as error:
                        raise _broken(part.name, "Its file is gone.") from error
                stager.finish()
            finally:
                stager.close()
            errors.finish()
            kept = rooms.files.keep(session, draft) if errors.count else None
        done = Performed(
            table_id=table_id,
            files=tuple(stager.files),
            schema=schema_text(stager.schema),
            valid_records=stager.rows,
            error_records=errors.count,
            valid_parts=len(parts),
            errors_file=kept,
            prefix=stager.prefix,
            staged_at=began,
        )
        return done, _note(done, stager.misfits)


def same_records(before: Performed, after: Performed) -> Performed:
    """Return a second staging of the same parts, with the error records that are known already."""
    return replace(after, errors_file=before.errors_file or after.errors_file)


def _broken(part: str, reason: str) -> BrokenPart:
    return BrokenPart(
        f"The part {part!r} cannot be read: {reason}", hint="Unfreeze the session and resend it."
    )


def _note(done: Performed, misfits: int) -> str:
    lines = [
        f"{done.valid_records} records of {done.valid_parts} parts are ready, in {len(done.files)} files."
    ]
    if done.error_records:
        lines.append(f"{done.error_records} error records: see bulk_import:error_records.")
    if misfits:
        lines.append(
            f"{misfits} records hold values that are in no column, since they are of another type than it or"
            f" the table has its {MAX_COLUMNS} columns: they are kept with their row, and come back when a"
            " column of their name is declared with their type."
        )
    return "\n".join(lines) + "\n"
