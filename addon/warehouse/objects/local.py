"""Objects as files below a folder: synced with their names, and readable by the sandboxed query workers."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from addon.models.objects import DeltaLocation, ObjectInfo
from addon.warehouse.checkpoints import discard_unfinished, durable_checkpoint
from addon.warehouse.folders import make_folder, open_for_reading, sync_file, sync_folder
from addon.warehouse.objects.verified import VerifiedFiles
from platform_core.base.errors import NotFound
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

DELTA_TAIL_TORN = "delta_tail_torn"
_SCRATCH, _TRASH = ".scratch", ".trash"
_PRIVATE = 0o700
_DRAFT_S = 86_400.0

log = get_logger(__name__)


class LocalLease:
    """Files that are where they are; the sweep's grace protects them from deletion."""

    def __init__(self, verified: VerifiedFiles) -> None:
        """Remember in ``verified`` what was compared with its name."""
        self._verified = verified

    def fetch(self, paths: Sequence[Path]) -> None:
        """Make sure that the files hold what was written to them."""
        self._verified.check(paths)

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""


class LocalObjects:
    """The files below one folder; implements ``ObjectStore``."""

    def __init__(self, root: Path) -> None:
        """Take the folder; it is created by the first write."""
        self._root = root
        self._verified = VerifiedFiles()

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self._root

    @property
    def scratch(self) -> Path:
        """A private folder beside the objects."""
        folder = self._root / _SCRATCH
        if not folder.is_dir():
            make_folder(self._root)
            folder.mkdir(mode=_PRIVATE, exist_ok=True)
        return folder

    def path(self, key: str) -> Path:
        """Return the object's file."""
        return self._root / key

    def lease(self) -> LocalLease:
        """Return a lease that has nothing to do."""
        return LocalLease(self._verified)

    def links(self, paths: Sequence[Path], seconds: float) -> Sequence[str]:
        """Return ``file://`` addresses, for whoever may read the folder."""
        del seconds
        return [path.absolute().as_uri() for path in paths]

    def put_file(self, key: str, source: Path) -> int:
        """Sync a draft, give it its name, sync the folder.

        A name that has a digest is as good as compared: its digest was made by reading the draft.
        """
        target = self.path(key)
        make_folder(target.parent)
        open_for_reading(source)
        sync_file(source)
        size = source.stat().st_size
        source.replace(target)
        sync_folder(target.parent)
        self._verified.trust(target)
        return size

    def create(self, key: str, data: bytes) -> bool:
        """Link a synced draft to its name, which fails when the name is taken."""
        draft = self._draft(data)
        target = self.path(key)
        make_folder(target.parent)
        try:
            os.link(draft, target)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        sync_folder(target.parent)
        return True

    def put(self, key: str, data: bytes) -> None:
        """Rename a synced draft over whatever has the name."""
        self.put_file(key, self._draft(data))

    def _draft(self, data: bytes) -> Path:
        draft = self.scratch / f"{uuid.uuid4().hex}.tmp"
        draft.write_bytes(data)
        open_for_reading(draft)
        sync_file(draft)
        return draft

    def get(self, key: str) -> bytes:
        """Return the file's bytes."""
        try:
            return self.path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"There is no object {key}.") from error

    def stamp(self, key: str) -> str | None:
        """Return inode, size and time of the last change."""
        try:
            found = self.path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Walk the folder."""
        if prefix:
            yield from self._walk(prefix.rstrip("/"))
            return
        for name in sorted(_names(self._root)):
            if not name.startswith("."):
                yield from self._walk(name)

    def _walk(self, key: str) -> Iterator[ObjectInfo]:
        path = self.path(key)
        # "a/" sorts behind "a.parquet": as keys do, not as names do.
        for name in sorted(_names(path), key=lambda name: f"{name}/" if (path / name).is_dir() else name):
            child = path / name
            if child.is_dir():
                yield from self._walk(f"{key}/{name}")
                continue
            try:
                found = child.stat()
            except FileNotFoundError:
                continue
            yield ObjectInfo(f"{key}/{name}", found.st_size, found.st_mtime)

    def delete(self, keys: Iterable[str]) -> None:
        """Unlink the files."""
        for key in keys:
            self.path(key).unlink(missing_ok=True)

    @property
    def deletes_in_one_step(self) -> bool:
        """A folder is renamed."""
        return True

    def delete_all(self, prefix: str) -> None:
        """Move the folder out of sight in one step, then delete it; also what an interrupted call left."""
        folder, trash = self.path(prefix.rstrip("/")), self._root / _TRASH
        if folder.exists():
            trash.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
            folder.rename(trash / uuid.uuid4().hex)
            sync_folder(folder.parent)
        for leftover in _names(trash):
            shutil.rmtree(trash / leftover, onerror=_unless_gone)

    def tidy(self) -> None:
        """Delete drafts of a day ago: whoever wrote them has crashed."""
        folder, before = self._root / _SCRATCH, time.time() - _DRAFT_S
        for name in _names(folder):
            with suppress(FileNotFoundError):
                if (folder / name).stat().st_mtime < before:
                    (folder / name).unlink()

    # Tables
    # ----------------------------------------------------------------------------------------------------

    def location(self, prefix: str) -> DeltaLocation:
        """Return the folder's path; no options."""
        return DeltaLocation(str(self.path(prefix)), {})

    def make_table(self, prefix: str) -> None:
        """Make the folder, durably and open for reading."""
        make_folder(self.path(prefix))

    def sync(self, folder: str, names: Iterable[str]) -> None:
        """Sync the files, then the folder and, for a log's first entry, the folder above it."""
        place = self.path(folder)
        for name in names:
            try:
                sync_file(place / name)
            except FileNotFoundError:
                continue
        sync_folder(place)

    def translated(self, error: Exception) -> Exception:
        """Return the error as it is."""
        return error

    def checkpoint(self, prefix: str, version: int) -> AbstractContextManager[None]:
        """Keep a marker beside the checkpoint until both are durable."""
        return durable_checkpoint(self.path(f"{prefix}/_delta_log"), version)

    def mend_log(self, prefix: str) -> None:
        """Rename a newest entry that a power cut left half-written: nothing can have relied on it."""
        folder = self.path(f"{prefix}/_delta_log")
        discard_unfinished(folder)
        entries = sorted(folder.glob("*.json"))
        if not entries:
            return
        try:
            lines = entries[-1].read_bytes().splitlines()
            complete = bool(lines) and all(json.loads(line) for line in lines)
        except FileNotFoundError:  # the table is dropped at this moment
            return
        except ValueError:
            complete = False
        if not complete:
            log.error(DELTA_TAIL_TORN, folder=prefix, entry=entries[-1].name)
            entries[-1].replace(entries[-1].with_suffix(".torn"))
            sync_folder(folder)


def _names(folder: Path) -> Sequence[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _unless_gone(_function: object, _path: object, failure: tuple[type, BaseException, object]) -> None:
    """Pass over what another thread has deleted meanwhile."""
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
