"""Where sessions keep their parts and error records: ``bulk/<account>/<session token>/<file>`` of the store.

A file is made durable under a name that nothing refers to, and only then named in the database; what a crash
leaves behind is therefore a file without a name, which :meth:`SessionFiles.sweep` removes.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from addon.models.bulk import SESSIONS_FOLDER
from platform_core.base import failpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from addon.models.bulk import BulkSession
    from addon.models.objects import ObjectStore

SWEEP_AFTER_S = 3_600.0
"""Seconds that a file stays that no session names: an upload may be about to name it."""


class SessionFiles:
    """The files of all sessions in the warehouse's object store, beside the accounts' tables."""

    def __init__(self, objects: ObjectStore) -> None:
        """Keep files in ``objects``."""
        self._objects = objects

    def draft(self) -> Path:
        """Return a path for a local draft that does not exist yet."""
        return self._objects.scratch / f"{uuid.uuid4().hex}.part"

    def keep(self, session: BulkSession, draft: Path) -> str:
        """Make a draft one of the session's files, durably; return its name."""
        file = uuid.uuid4().hex
        failpoints.hit("bulk.file.unsynced")
        self._objects.put_file(f"{_prefix(session)}/{file}", draft)
        failpoints.hit("bulk.file.unnamed")
        return file

    @contextmanager
    def reading(self, session: BulkSession, files: Sequence[str]) -> Iterator[list[Path]]:
        """Have files here as local ones until the block ends."""
        paths = [self._objects.path(f"{_prefix(session)}/{file}") for file in files]
        with self._objects.lease() as lease:
            lease.fetch(paths)
            yield paths

    def remove(self, session: BulkSession, files: Sequence[str]) -> None:
        """Delete some of a session's files."""
        self._objects.delete([f"{_prefix(session)}/{file}" for file in files])

    def remove_all(self, session: BulkSession) -> None:
        """Delete everything that a session kept."""
        self._objects.delete_all(_prefix(session))

    def remove_account(self, account_id: int) -> None:
        """Delete everything that an account's sessions kept."""
        self._objects.delete_all(f"{SESSIONS_FOLDER}/{account_id}")

    def sweep(self, named_by: Callable[[str], set[str]], before: float) -> int:
        """Delete what was written before that time (Unix seconds) and is not named; return how many files.

        ``named_by`` gives the files that the session with a token names, none for one that is gone.
        """
        old: dict[str, list[str]] = {}
        for info in self._objects.list(SESSIONS_FOLDER):
            folder, _, file = info.key.rpartition("/")
            if info.modified < before:
                old.setdefault(folder, []).append(file)
        gone = [
            f"{folder}/{file}"
            for folder, files in old.items()
            for file in set(files) - named_by(folder.rpartition("/")[2])
        ]
        self._objects.delete(gone)
        return len(gone)


def _prefix(session: BulkSession) -> str:
    return f"{SESSIONS_FOLDER}/{session.account_id}/{session.token}"
