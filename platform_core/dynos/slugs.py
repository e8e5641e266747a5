"""Unpacks slugs, once each, and gives every dyno a private copy as its ephemeral file system."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tarfile
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

import zstandard

from platform_core.base.archives import extract_member
from platform_core.base.errors import InvalidInput, Unavailable
from platform_core.base.sandbox.ownership import own

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_BYTES = 4 << 30
"""Unpacked size of one slug; Heroku's compressed limit is 500 MB."""
MAX_MEMBERS = 500_000
_PART = ".part-"


class SlugCache:
    """Unpacked slugs by their SHA-256, read-only, and the copies made of them.

    A copy, not an overlay mount: it needs no right, leaves nothing mounted after a crash, and works on every
    file system.
    """

    def __init__(self, folder: Path) -> None:
        """Keep everything below ``folder``; what an earlier run left of dynos is removed."""
        self._slugs = folder / "slugs"
        self._dynos = folder / "dynos"
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._in_use: Counter[str] = Counter()
        """Checkouts under way."""
        shutil.rmtree(self._dynos, ignore_errors=True)
        for part in self._slugs.glob(f"{_PART}*"):
            _remove(part)
        for made in (self._slugs, self._dynos):
            made.mkdir(parents=True, exist_ok=True)

    async def checkout(self, sha256: str, archive: Path, dyno_id: str, uid: int) -> Path:
        """Return a new folder with the slug's files, owned by ``uid``.

        Raises:
            Unavailable: the slug is missing or broken, or the disk is full.
        """
        target = self._dynos / dyno_id
        self._in_use[sha256] += 1
        try:
            async with self._locks[sha256]:
                unpacked = await asyncio.to_thread(self._unpack_once, sha256, archive)
            await asyncio.to_thread(_copy, unpacked, target, uid)
        except (OSError, shutil.Error, tarfile.TarError, zstandard.ZstdError, InvalidInput) as error:
            await self.discard(target)
            raise Unavailable(f"The slug cannot be unpacked: {error}.") from error
        finally:
            self._in_use[sha256] -= 1
        return target

    async def discard(self, folder: Path) -> None:
        """Remove a dyno's files; what a program left unreadable is opened first."""
        await asyncio.to_thread(_remove, folder)

    async def forget(self, keep: Collection[str]) -> None:
        """Remove unpacked slugs other than those in ``keep``; one that is needed again is unpacked again."""
        for folder in list(self._slugs.iterdir()):
            sha256 = folder.name
            if sha256 in keep or sha256.startswith(_PART) or self._in_use[sha256]:
                continue
            async with self._locks[sha256]:
                if not self._in_use[sha256]:
                    await asyncio.to_thread(_remove, folder)

    def _unpack_once(self, sha256: str, archive: Path) -> Path:
        target = self._slugs / sha256
        if not target.is_dir():
            part = Path(tempfile.mkdtemp(prefix=_PART, dir=self._slugs))
            try:
                with archive.open("rb") as stream:
                    unpack(stream, part)
                part.chmod(0o755)
                part.rename(target)
            except BaseException:
                _remove(part)
                raise
        return target


def unpack(stream: IO[bytes], target: Path) -> None:
    """Unpack a zstd-compressed tar into ``target`` within the stated limits.

    Raises:
        InvalidInput: it is too large.
        tarfile.TarError: it is broken, or a member would land outside of ``target``.
        zstandard.ZstdError: it is not zstd.
    """
    members = size = 0
    with (
        zstandard.ZstdDecompressor().stream_reader(stream) as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        for member in archive:
            members += 1
            size += member.size
            if members > MAX_MEMBERS or size > MAX_BYTES:
                raise InvalidInput(f"it holds more than {MAX_MEMBERS} files or {MAX_BYTES} bytes")
            # A virtual environment links to /usr/bin/python3; the dyno follows it inside its sandbox.
            extract_member(archive, member, target, links_anywhere=True)


def _copy(source: Path, target: Path, uid: int) -> None:
    shutil.copytree(source, target, symlinks=True)
    own(target, uid)


def _remove(folder: Path) -> None:
    def open_up(function: object, path: str, _error: object) -> None:
        del function
        stuck = Path(path)
        with contextlib.suppress(OSError):
            stuck.parent.chmod(0o700)
            if stuck.is_dir() and not stuck.is_symlink():
                stuck.chmod(0o700)
                shutil.rmtree(stuck, ignore_errors=True)
            else:
                stuck.unlink()

    shutil.rmtree(folder, onerror=open_up)
