"""The WAL's folder: segment files, the writer's identity, the lock, the quarantine of damaged segments."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.ingest.frames import Scan, scan
from platform_core.base.errors import Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from addon.ingest.disk import Disk

_SUFFIX = ".wal"
_RESERVE = 4096
"""Segment numbers promised at a time, so that a number is never used twice even when every file is gone."""
FLUSH_LOCK = "flush.lock"
WAL_SEGMENT_CORRUPT = "wal_segment_corrupt"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed segment file. ``limit`` bounds its valid bytes when a write to it failed; None means all."""

    number: int
    path: Path
    limit: int | None = None


@dataclass(slots=True)
class Writer:
    """Who writes this log: names the Delta transactions and seeds the CRCs."""

    name: str
    key: int
    reserved: int


class SegmentFolder:
    """One WAL folder, held by one process at a time."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Take the folder; nothing is touched before ``acquire``."""
        self.folder = folder
        self._disk = disk
        self._lock: int | None = None
        self.writer = Writer("", 0, 0)
        self.next_number = 1

    def acquire(self) -> list[Segment]:
        """Lock the folder, load the writer's identity and return the segments that were left, oldest first.

        Raises:
            Unavailable: another process holds it, or the writer's identity is gone or damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sync_parents()
        self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.release()
            raise Unavailable(
                f"Another process is writing the log in {self.folder}.",
                hint="Stop it first, or give this one its own folder.",
            ) from error
        left = [Segment(number, path) for number, path in sorted(self._files())]
        self.writer = self._load_writer(must_exist=bool(left))
        newest = left[-1].number + 1 if left else 1
        self.next_number = max(self.writer.reserved, newest)
        return left

    def _sync_parents(self) -> None:
        """Make the folder's own name durable, and those above it: without them a power cut takes it all.

        Always, not only when it was made now: who made it may have died before.
        """
        for parent in self.folder.parents:
            with contextlib.suppress(PermissionError):  # not ours, so neither made by us
                self._disk.sync_folder(parent)

    def release(self) -> None:
        """Let another process take the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def create(self) -> tuple[int, Path, int]:
        """Create the next segment durably; return its number, path and descriptor."""
        number = self.next_number
        if number >= self.writer.reserved:
            self._store_writer(Writer(self.writer.name, self.writer.key, number + _RESERVE))
        path = self.folder / f"{number:020d}{_SUFFIX}"
        descriptor = self._disk.create(path)
        self.next_number = number + 1
        try:
            self._disk.sync_folder(self.folder)
        except OSError:
            self._disk.close(descriptor)
            self._disk.remove(path)
            raise
        return number, path, descriptor

    def read(self, segment: Segment) -> tuple[bytes, Scan]:
        """Return a segment's bytes and frames; a damaged one is quarantined (a copy) and reported first."""
        data = segment.path.read_bytes()[: segment.limit]
        found = scan(data, self.writer.key, segment.number)
        if found.corrupt or found.missing:
            kept = self._quarantine(segment.path)
            log.error(
                WAL_SEGMENT_CORRUPT,
                segment=segment.number,
                ranges=found.corrupt[:20],
                frames_missing=found.missing,
                frames_good=len(found.frames),
                quarantined_as=kept.name,
            )
        return data, found

    @contextlib.contextmanager
    def flushing(self) -> Iterator[None]:
        """Surround a flush: a backup that holds ``flush.lock`` exclusively makes it wait."""
        held = os.open(self.folder / FLUSH_LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_SH)
            yield
        finally:
            os.close(held)

    def discard(self, segment: Segment) -> None:
        """Delete a segment whose rows are committed.

        Not synced: the next segment's creation does it. A power cut before that brings the segment back, and
        flushing it again changes nothing.
        """
        self._disk.remove(segment.path)

    def _files(self) -> list[tuple[int, Path]]:
        return [(int(path.stem), path) for path in self.folder.glob(f"*{_SUFFIX}") if path.stem.isdigit()]

    def _quarantine(self, path: Path) -> Path:
        target = self.folder / "quarantine" / path.name
        target.parent.mkdir(exist_ok=True, mode=0o700)
        if not target.exists():
            draft = target.with_suffix(".part")
            shutil.copyfile(path, draft)
            with draft.open("rb") as file:
                self._disk.sync(file.fileno())
            draft.replace(target)
            self._disk.sync_folder(target.parent)
            self._disk.sync_folder(self.folder)
        return target

    def _load_writer(self, *, must_exist: bool) -> Writer:
        path = self.folder / "writer.json"
        try:
            fields = json.loads(path.read_bytes())
            return Writer(str(fields["name"]), int(fields["key"]), int(fields["reserved"]))
        except FileNotFoundError:
            if must_exist:
                raise Unavailable(
                    f"{path} is gone while segments are there: replaying them could double their rows.",
                    hint="Restore the file from a backup, or move the segments away to give them up.",
                ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                f"{path} is damaged.", hint="Restore it from a backup; it names who wrote the segments."
            ) from error
        # CRC keys are non-zero so that an all-zero header can never check out.
        return self._store_writer(Writer(f"sluice-{secrets.token_hex(8)}", secrets.randbits(32) | 1, 1))

    def _store_writer(self, writer: Writer) -> Writer:
        path = self.folder / "writer.json"
        draft = path.with_suffix(".tmp")
        text = json.dumps({"name": writer.name, "key": writer.key, "reserved": writer.reserved})
        self._disk.remove(draft)
        descriptor = self._disk.create(draft)
        try:
            self._disk.write(descriptor, [text.encode()])
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        draft.replace(path)
        self._disk.sync_folder(self.folder)
        self.writer = writer
        return writer
