"""The port to where the warehouse's files live: a local folder, or a bucket of an S3-compatible store.

Keys are relative POSIX paths such as ``7/shop/events/part.parquet``. Files are immutable: a key that was
written is never written again with other bytes, which is what makes caching them safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


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
    """delta-rs' ``storage_options``; empty for a local folder."""


class ObjectStore(Protocol):
    """Durable files under keys; thread-safe, blocking.

    Every method raises ``Unavailable`` when the store cannot be reached or keeps failing after its retries,
    and ``OutOfSpace`` when it is full.
    """

    def put_file(self, key: str, source: Path) -> int:
        """Store a finished local file under ``key``, durably, and remove ``source``; return its size.

        The local adapter renames; the source must therefore lie below ``scratch``. Repeating it is harmless.
        """

    def create(self, key: str, data: bytes) -> bool:
        """Store ``data`` unless the key is taken, atomically; tell whether it was stored."""

    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, replacing what is there in one step."""

    def get(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            NotFound: there is no such object.
        """

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects whose keys start with ``prefix``, in the order of their keys."""

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; those that are gone already are passed over."""

    def delete_all(self, prefix: str) -> None:
        """Delete every object whose key starts with ``prefix`` (a folder's name and ``/``)."""

    def location(self, prefix: str) -> DeltaLocation:
        """Return where the Delta table under ``prefix`` is for delta-rs."""

    def local(self, key: str) -> Path:
        """Return a local file with the object's bytes, fetched into the cache where the store is remote.

        Raises:
            NotFound: there is no such object.
        """

    @property
    def scratch(self) -> Path:
        """A local folder for drafts, on the same file system as the objects of a local store."""
