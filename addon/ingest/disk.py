"""The file operations that durability hangs on, behind a small port, so that tests can break them at will."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

_IOV_MAX = 512
"""Buffers handed to one writev; Linux takes 1,024."""


class Disk(Protocol):
    """What the WAL needs of a file system."""

    def create(self, path: Path) -> int:
        """Create a file that must not exist; return its descriptor, open for appending."""

    def write(self, descriptor: int, parts: list[bytes]) -> None:
        """Append all of ``parts``; on an error some of them may be in the file."""

    def sync(self, descriptor: int) -> None:
        """Return when the file's data is on the disk."""

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file to ``length`` bytes."""

    def close(self, descriptor: int) -> None:
        """Close the file."""

    def remove(self, path: Path) -> None:
        """Delete a file; one that is gone already is fine."""

    def sync_folder(self, folder: Path) -> None:
        """Return when creations, renames and deletions in ``folder`` are on the disk."""

    def free_bytes(self, folder: Path) -> int:
        """Return the room that is left for us on the file system of ``folder``."""

    def size_bytes(self, folder: Path) -> int:
        """Return the size of the file system of ``folder``."""


class LocalDisk:
    """The machine's file system."""

    def create(self, path: Path) -> int:
        """Create a file that must not exist; return its descriptor, open for appending."""
        return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, parts: list[bytes]) -> None:
        """Append all of ``parts``, however short the kernel's writes are."""
        for first in range(0, len(parts), _IOV_MAX):
            chunk: list[bytes | memoryview] = list(parts[first : first + _IOV_MAX])
            while chunk:
                written = os.writev(descriptor, chunk)
                while chunk and written >= len(chunk[0]):
                    written -= len(chunk.pop(0))
                if written:
                    chunk[0] = memoryview(chunk[0])[written:]

    def sync(self, descriptor: int) -> None:
        """Return when the file's data is on the disk."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file to ``length`` bytes."""
        os.ftruncate(descriptor, length)

    def close(self, descriptor: int) -> None:
        """Close the file."""
        os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Delete a file; one that is gone already is fine."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Return when creations, renames and deletions in ``folder`` are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_bytes(self, folder: Path) -> int:
        """Return the room that is left for us on the file system of ``folder``."""
        stats = os.statvfs(folder)
        return stats.f_bavail * stats.f_frsize

    def size_bytes(self, folder: Path) -> int:
        """Return the size of the file system of ``folder``."""
        stats = os.statvfs(folder)
        return stats.f_blocks * stats.f_frsize
