"""The port to where the warehouse's files live: a local folder, or a bucket of an S3-compatible store.

Keys are relative POSIX paths such as ``7/shop/events/part.parquet``. Table files are immutable: a key that
was written is never written again with other bytes, which is what makes caching them safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from platform_core.base.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's key, size in bytes, and when it was written (Unix seconds)."""

    key: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class DeltaLocation:
    """Where delta-rs (and any other Delta reader) finds a table."""

    uri: str
    options: Mapping[str, str]
    """delta-rs' ``storage_options``; empty for a local folder. Holds credentials: not for logs."""

    def __repr__(self) -> str:
        """Return the text without the options, which hold credentials."""
        return f"DeltaLocation({self.uri!r})"


class DamagedObject(Unavailable):
    """A stored file does not hold what was written to it."""

    def __init__(self, name: str) -> None:
        """Take the file's name."""
        super().__init__(
            f"The table file {name} is damaged: its bytes have changed on the disk.",
            hint="Copy the file of this name from a backup; sluice fsck lists all such files.",
        )
        self.name = name


class Lease(Protocol):
    """Local files that stay where they are until the lease is closed; thread-safe, blocking."""

    def fetch(self, paths: Sequence[Path]) -> None:
        """Make sure that the files are there, those of a remote store through the cache, and keep them.

        After ``close`` it does nothing, so that a caller who gave up need not wait for a running call.

        Raises:
            NotFound: the store has no such object.
            Unavailable: the store cannot be reached; `DamagedObject`: a file is not what was written.
            OutOfSpace: the disk of the cache is full.
        """

    def close(self) -> None:
        """Let the files go."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""


class ObjectStore(Protocol):
    """Durable files under keys; thread-safe, blocking.

    Every method raises ``Unavailable`` when the store cannot be reached or keeps failing after its retries,
    and ``OutOfSpace`` when it is full. A local store's other errors come as ``OSError``.
    """

    @property
    def root(self) -> Path:
        """The local folder below which each object has its path: the store itself, or the cache."""

    @property
    def scratch(self) -> Path:
        """A local folder for drafts, on the same file system as ``root``; it exists."""

    def path(self, key: str) -> Path:
        """Return where the object is, or will be once fetched, as a local file."""

    def lease(self) -> Lease:
        """Return a lease on no files yet."""

    def links(self, paths: Sequence[Path], seconds: float) -> Sequence[str]:
        """Return the address of each object, given by its local path: readable without further credentials.

        Those of a remote store hold a signature that ends after ``seconds``: not for logs.
        """

    def put_file(self, key: str, source: Path) -> int:
        """Store a finished local file under ``key``, durably, and remove ``source``; return its size.

        ``source`` lies in ``scratch``. Repeating it with the same bytes is harmless.
        """

    def create(self, key: str, data: bytes) -> bool:
        """Store ``data`` unless the key is taken, atomically; tell whether it was stored.

        False also when an earlier try of this very call stored it and the answer was lost: compare the bytes.
        """

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, replacing what is there in one step."""

    def get(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            NotFound: there is no such object.
        """

    def stamp(self, key: str) -> str | None:
        """Return a text that differs when the object was written anew; None when there is no such object."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects below the folder ``prefix`` (empty for all), in the order of their keys.

        Nothing for a folder that is not there. Drafts and trash are not objects.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are gone already are passed over."""

    @property
    def deletes_in_one_step(self) -> bool:
        """Whether ``delete_all`` takes a folder out of sight at once, for every process."""

    def delete_all(self, prefix: str) -> None:
        """Delete the folder ``prefix`` with every object below it; fine when there is none.

        Where the store can, it goes out of sight in one step. Otherwise Delta logs go first.
        """

    def tidy(self) -> None:
        """Upkeep of the local files: what crashed writers left, and cached files of tables that are gone."""

    # Tables, whose logs delta-rs reads and writes
    # ----------------------------------------------------------------------------------------------------

    def location(self, prefix: str) -> DeltaLocation:
        """Return where the Delta table in the folder ``prefix`` is for delta-rs."""

    def make_table(self, prefix: str) -> None:
        """Prepare the folder of a table that delta-rs is about to create."""

    def sync(self, folder: str, names: Iterable[str]) -> None:
        """Make files that delta-rs wrote to ``folder`` durable, with their names; pass over missing ones."""

    def translated(self, error: Exception) -> Exception:
        """Return what delta-rs raised as an error of this port; the same error where it says all there is."""

    def checkpoint(self, prefix: str, version: int) -> AbstractContextManager[None]:
        """Surround delta-rs' writing of a version's checkpoint: at the end of the block it is durable.

        One that a crash broke off is deleted by ``mend_log``, so that none is ever read half-written.
        """

    def mend_log(self, prefix: str) -> None:
        """Set aside a table's newest log entry where a power cut left it half-written."""
