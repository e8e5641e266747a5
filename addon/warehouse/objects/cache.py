"""Files of a remote store on the local disk: bounded, fetched once, never taken from under a reader.

A file's name ends in the beginning of its SHA-256, so what arrived, and what an earlier run left, is checked
against the name before anybody reads it. Files that are not in use go when room is needed, the longest unused
first.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import threading
import uuid
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from addon.warehouse.folders import open_for_reading
from platform_core.base.errors import OutOfSpace, Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

CACHE_FILE_BAD = "object_cache_file_bad"
_FETCHES = 8
"""Files fetched at once."""
_TRIES = 3
_MAX_CACHES = 64
_FOLDER_MODE = 0o755
_DIGEST = re.compile(r"-([0-9a-f]{16})\.parquet$")
_CHUNK = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

log = get_logger(__name__)


@dataclass(slots=True)
class _Entry:
    """A file in the cache; ``users`` are the open leases that read it."""

    size: int
    users: int = 0
    checked: bool = False


class CacheLease:
    """Cached files that stay until the lease is closed."""

    def __init__(self, cache: FileCache) -> None:
        """Take the cache; nothing is held yet."""
        self._cache = cache
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        self._closed = False

    def fetch(self, paths: Sequence[Path]) -> None:
        """Fetch what is not there, several files at once, and keep all of it."""
        keys = [self._cache.key(path) for path in paths]
        with self._lock:
            if self._closed:
                return
            fresh = [key for key in dict.fromkeys(keys) if key not in self._keys]
            self._keys.update(fresh)
            self._cache.use(fresh)
        self._cache.fill(fresh)

    def close(self) -> None:
        """Let the files go."""
        with self._lock:
            self._closed = True
            keys, self._keys = self._keys, set()
        self._cache.release(keys)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class FileCache:
    """The cached files below one folder, which belongs to one process."""

    def __init__(self, folder: Path, max_bytes: int, download: Callable[[str], Iterator[bytes]]) -> None:
        """Take a folder, how many bytes it may hold, and what yields an object's bytes.

        Files that an earlier run left are used again. Where another process uses the folder, one beside it
        is taken.

        Raises:
            Unavailable: too many processes use the folder.
        """
        self._held, self.root = _own_folder(folder)
        self._max = max_bytes
        self._download = download
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._users: dict[str, int] = {}
        self._bytes = 0
        self._running: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(_FETCHES, thread_name_prefix="object-fetch")
        self.scratch = self.root / ".scratch"
        self._adopt()

    def _adopt(self) -> None:
        self.root.chmod(_FOLDER_MODE)
        self.scratch.mkdir(mode=0o700, exist_ok=True)
        for draft in self.scratch.iterdir():
            draft.unlink()
        found = [(path.stat(), path) for path in self.root.rglob("*.parquet")]
        for status, path in sorted(found, key=lambda item: item[0].st_mtime):
            self._entries[self.key(path)] = _Entry(status.st_size)
            self._bytes += status.st_size
        with self._lock:
            self._make_room(0)

    def path(self, key: str) -> Path:
        """Return where the object is once it was fetched."""
        return self.root / key

    def key(self, path: Path) -> str:
        """Return the object's key, given where it is in the cache."""
        return path.relative_to(self.root).as_posix()

    # Use
    # ----------------------------------------------------------------------------------------------------

    def use(self, keys: Iterable[str]) -> None:
        """Count a user of each file, there or not: it will not be evicted."""
        with self._lock:
            for key in keys:
                self._users[key] = self._users.get(key, 0) + 1
                if key in self._entries:
                    self._entries.move_to_end(key)

    def release(self, keys: Iterable[str]) -> None:
        """Take the users back."""
        with self._lock:
            for key in keys:
                left = self._users.get(key, 0) - 1
                if left > 0:
                    self._users[key] = left
                else:
                    self._users.pop(key, None)
            self._make_room(0)

    def fill(self, keys: Sequence[str]) -> None:
        """Fetch the files that are missing; return when all are there and checked.

        Raises:
            NotFound: there is no such object.
            Unavailable: the store cannot be reached, or sends something else than was stored.
            OutOfSpace: the files in use do not fit into the cache, or on its disk.
        """
        running = [future for key in keys if (future := self._wanted(key)) is not None]
        wait(running)
        for future in running:
            future.result()

    def _wanted(self, key: str) -> Future[None] | None:
        """Return the running fetch of a file, or begin one; None when the file is good already."""
        with self._lock:
            running = self._running.get(key)
            if running is not None:
                return running
            entry = self._entries.get(key)
            if entry is not None and entry.checked:
                return None
            future = self._running[key] = self._pool.submit(self._obtain, key)
            return future

    def _obtain(self, key: str) -> None:
        try:
            if key in self._entries and self._is_good(key):
                with self._lock:
                    if key in self._entries:
                        self._entries[key].checked = True
                        return
            self._fetch(key)
        finally:
            with self._lock:
                del self._running[key]

    def _is_good(self, key: str) -> bool:
        """Check a file of an earlier run against its name; remove it when it is not what was written."""
        wanted = _DIGEST.search(key)
        try:
            with self.path(key).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            digest = ""
        if wanted is not None and digest.startswith(wanted[1]):
            return True
        if digest:
            log.warning(CACHE_FILE_BAD, key=key)
        self.discard([key])
        return False

    def _fetch(self, key: str) -> None:
        for attempt in range(_TRIES):
            draft = self.scratch / f"{uuid.uuid4().hex}.tmp"
            try:
                size = self._receive(key, draft)
                self._install(key, draft, size)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._shrink()
                if attempt == _TRIES - 1:
                    raise OutOfSpace(
                        "The disk of the object cache is full.", hint="Free some room on it."
                    ) from error
            except _Mangled as error:
                log.warning(CACHE_FILE_BAD, key=key)
                if attempt == _TRIES - 1:
                    raise Unavailable(
                        f"The object store sends other bytes for {key} than were stored.",
                        hint="Restore this object from a backup, or retry.",
                    ) from error
            else:
                return
            finally:
                draft.unlink(missing_ok=True)

    def _receive(self, key: str, draft: Path) -> int:
        digest, size, wanted = hashlib.sha256(), 0, _DIGEST.search(key)
        with draft.open("wb") as file:
            for part in self._download(key):
                file.write(part)
                digest.update(part)
                size += len(part)
        if wanted is not None and not digest.hexdigest().startswith(wanted[1]):
            raise _Mangled
        return size

    def _install(self, key: str, draft: Path, size: int) -> None:
        """Give a checked file its place, after making room for it."""
        with self._lock:
            if not self._make_room(size):
                raise OutOfSpace(
                    f"The files in use do not fit into the object cache of {self._max} bytes.",
                    hint="Read a shorter time range, or raise SLUICE_ADDON_STORE_CACHE_BYTES.",
                )
            self._place(key, draft, size)

    def keep(self, key: str, draft: Path) -> None:
        """Take over a file that was just stored under ``key``, as far as there is room; else delete it."""
        size = draft.stat().st_size
        with self._lock:
            if self._make_room(size):
                self._place(key, draft, size)
            else:
                draft.unlink()

    def _place(self, key: str, draft: Path, size: int) -> None:
        target = self.path(key)
        self._make_folder(target.parent)
        open_for_reading(draft)
        draft.replace(target)
        before = self._entries.pop(key, None)
        self._bytes += size - (before.size if before else 0)
        self._entries[key] = _Entry(size, checked=True)

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            folder.chmod(_FOLDER_MODE)

    # Room
    # ----------------------------------------------------------------------------------------------------

    def _make_room(self, size: int) -> bool:
        """Evict what nobody uses until ``size`` more bytes fit; tell whether they do. Under the lock."""
        if self._bytes + size <= self._max:
            return True
        for key in [key for key in self._entries if key not in self._users]:
            self._drop(key)
            if self._bytes + size <= self._max:
                return True
        return False

    def _shrink(self) -> None:
        """Evict everything that nobody uses."""
        with self._lock:
            for key in [key for key in self._entries if key not in self._users]:
                self._drop(key)

    def _drop(self, key: str) -> None:
        self._bytes -= self._entries.pop(key).size
        self.path(key).unlink(missing_ok=True)

    def discard(self, keys: Iterable[str]) -> None:
        """Remove files whose objects were deleted, used or not."""
        with self._lock:
            for key in keys:
                if key in self._entries:
                    self._drop(key)

    def discard_all(self, folder: str) -> None:
        """Remove every file below a folder."""
        begin = folder.rstrip("/") + "/"
        with self._lock:
            for key in [key for key in self._entries if key.startswith(begin)]:
                self._drop(key)

    def folders(self) -> list[str]:
        """Return the folders that have files here."""
        with self._lock:
            return sorted({key.rpartition("/")[0] for key in self._entries})

    @property
    def bytes(self) -> int:
        """How much is cached."""
        return self._bytes

    def close(self) -> None:
        """End the fetching threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        os.close(self._held)


def _own_folder(wanted: Path) -> tuple[int, Path]:
    """Return a folder that no other process uses, with its lock, which goes with the process."""
    for number in range(_MAX_CACHES):
        folder = wanted.with_name(f"{wanted.name}-{number}") if number else wanted
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return descriptor, folder
    raise Unavailable(f"{_MAX_CACHES} processes use the cache {wanted.name}.", hint="Give each its own home.")


class _Mangled(Exception):
    """What arrived is not what was stored."""
