"""Slugs: a built app as a deterministic zstd-compressed tar, kept under its SHA-256.

Deterministic: entries in order, owner 0, times 0, modes cut down to "executable or not"; the same files give
the same hash, so a rebuild of the same commit is the same slug.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import zstandard

from platform_core.base.errors import OutOfSpace, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SLUG_BYTES = 500 << 20
_SUFFIX = ".tar.zst"
_PART = ".slug-"
_LEVEL = 6
_CHUNK = 1 << 20
_EXECUTABLE = 0o755
_PLAIN = 0o644


class _Hashing:
    """A file to write to that hashes what goes through and refuses to grow over a limit."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self.size > self._limit:
            raise TooLarge(
                f"The slug is over the limit of {self._limit >> 20} MB.",
                hint="Leave large files out with .slugignore, or fetch them at run time.",
            )
        self.digest.update(data)
        return self._file.write(data)


class SlugStore:
    """Every slug there is, one file each."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_SLUG_BYTES) -> None:
        """Keep slugs below ``folder``, each at most ``max_bytes`` compressed."""
        self._folder = folder
        self._max_bytes = max_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, sha256: str) -> Path:
        """Where the slug with this hash is, or would be."""
        return self._folder / f"{sha256}{_SUFFIX}"

    def pack(self, app_dir: Path) -> tuple[str, int]:
        """Store the files in ``app_dir`` as a slug; return its SHA-256 and its size in bytes.

        The file has its name only when it is whole and on disk.

        Raises:
            TooLarge: it is over the limit.
            OutOfSpace: the disk is full.
        """
        handle, part_name = tempfile.mkstemp(prefix=_PART, dir=self._folder)
        part = Path(part_name)
        try:
            with os.fdopen(handle, "wb") as file:
                hashing = _Hashing(file, self._max_bytes)
                _write_tar(app_dir, cast("BinaryIO", hashing))
                file.flush()
                os.fsync(file.fileno())
            sha256 = hashing.digest.hexdigest()
            part.rename(self.path(sha256))
        except OSError as error:
            raise OutOfSpace(f"The slug cannot be stored: {error.strerror}.") from error
        finally:
            part.unlink(missing_ok=True)
        _sync_folder(self._folder)
        return sha256, hashing.size

    def hashes(self) -> set[str]:
        """Return the SHA-256 of every slug there is."""
        return {path.name.removesuffix(_SUFFIX) for path in self._folder.glob(f"*{_SUFFIX}")}

    def delete(self, sha256: str) -> None:
        """Remove a slug; no error when it is not there."""
        self.path(sha256).unlink(missing_ok=True)

    def remove_partial(self) -> None:
        """Remove what builds that were cut short have left; call it while none is under way."""
        for part in self._folder.glob(f"{_PART}*"):
            part.unlink(missing_ok=True)


def _write_tar(app_dir: Path, out: BinaryIO) -> None:
    with (
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(out, closefd=False) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _walk(app_dir):
            member = archive.gettarinfo(path, arcname=str(path.relative_to(app_dir)))
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                continue  # sockets, pipes and devices are no part of an app
            _normalise(member)
            if member.isreg():
                with path.open("rb") as file:
                    archive.addfile(member, file)
            else:
                archive.addfile(member)


def _normalise(member: tarfile.TarInfo) -> None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.pax_headers = {}
    executable = member.isdir() or member.issym() or member.mode & 0o111
    member.mode = _EXECUTABLE if executable else _PLAIN


def _walk(root: Path) -> Iterator[Path]:
    """Yield everything below ``root``, parents first, in an order that does not depend on the file system."""
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
