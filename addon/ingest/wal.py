"""The write-ahead log: many waiting appends, one writer thread, one fdatasync for all of them.

An append returns when its frame is on the disk. A write or fsync error retires the segment at its last
synced byte (after EIO the page cache may call lost pages clean) and writes the group again to a new one; a
full disk takes back the group and leaves the log as it was, so that the next append works as soon as there
is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from addon.ingest.frames import HEADER_BYTES, encode_header
from addon.ingest.segments import Segment, SegmentFolder
from platform_core.base import failpoints
from platform_core.base.errors import OutOfSpace, SluiceError, Unavailable
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.disk import Disk

WAL_SEGMENT_RETIRED = "wal_segment_retired"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_GROUP_ENTRIES = 512

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WalLimits:
    """Sizes in bytes. ``weight`` is a payload's size after decompression."""

    segment_bytes: int = 16 << 20
    segment_weight: int = 32 << 20
    group_bytes: int = 16 << 20
    reserve_bytes: int = 64 << 20
    """Room kept free for flushing, at most an eighth of the disk. Together with as much as the log itself
    takes: appends are refused below it, so that a full disk can still drain."""


@dataclass(slots=True)
class _Append:
    parts: tuple[bytes, ...]
    weight: int
    done: asyncio.Future[int]


@dataclass(slots=True)
class _Seal:
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Current:
    """The open segment; everything below ``synced`` is durable."""

    number: int
    segment: Segment
    descriptor: int
    written: int = 0
    synced: int = 0
    sequence: int = 0
    weight: int = 0


class Wal:
    """The log of one process. ``open`` first, ``close`` last; ``append`` and ``seal`` from the event loop."""

    def __init__(self, folder: SegmentFolder, disk: Disk, limits: WalLimits | None = None) -> None:
        """Take the folder and the disk; no file is touched before ``open``."""
        self.folder = folder
        self.disk = disk
        self._limits = limits or WalLimits()
        self._queue: queue.SimpleQueue[_Append | _Seal | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current: _Current | None = None
        self._guard = threading.Lock()
        self._sealed: list[Segment] = []
        self._sealed_bytes: dict[int, int] = {}
        self._reserve = 0

    def open(self, loop: asyncio.AbstractEventLoop) -> list[Segment]:
        """Lock the folder, start the writer thread; return the segments that an earlier run left.

        Raises:
            Unavailable: the folder is held by another process or damaged.
        """
        left = self.folder.acquire()
        self._sealed = list(left)
        self._sealed_bytes = {segment.number: segment.path.stat().st_size for segment in left}
        self._reserve = min(self._limits.reserve_bytes, self.disk.size_bytes(self.folder.folder) // 8)
        self._loop = loop
        self._thread = threading.Thread(target=self._run, name="wal-writer", daemon=True)
        self._thread.start()
        return left

    async def append(self, parts: tuple[bytes, ...], weight: int) -> int:
        """Make a payload durable; return the number of the segment that holds it.

        Raises:
            OutOfSpace: the disk is full; the payload is not in the log.
            Unavailable: the disk failed; the payload is not in the log.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.put(_Append(parts, weight, done))
        return await done

    async def seal(self) -> list[Segment]:
        """Close the open segment if it holds anything; return all closed ones, oldest first."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(_Seal(done))
        await done
        with self._guard:
            return list(self._sealed)

    def extent(self) -> tuple[int, int]:
        """Return how many segments there are, the open one included, and their bytes."""
        current = self._current
        with self._guard:
            segments, size = len(self._sealed), sum(self._sealed_bytes.values())
        return segments + (current is not None), size + (0 if current is None else current.written)

    def discard(self, segment: Segment) -> None:
        """Delete a closed segment whose rows are committed; any thread."""
        failpoints.hit("wal.delete.pre")
        self.folder.discard(segment)
        with self._guard:
            self._sealed = [kept for kept in self._sealed if kept.number != segment.number]
            self._sealed_bytes.pop(segment.number, None)
        failpoints.hit("wal.delete.post")

    async def close(self) -> None:
        """Finish what is queued, close the open segment and let the folder go."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self.folder.release()

    # The writer thread
    # ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Take what waits, make it durable as one group, answer; until told to stop."""
        while True:
            group: list[_Append] = []
            item = self._queue.get()
            size = 0
            while isinstance(item, _Append):
                group.append(item)
                size += sum(map(len, item.parts))
                if size >= self._limits.group_bytes or len(group) >= _GROUP_ENTRIES:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if group:
                self._commit(group)
            if isinstance(item, _Seal):
                self._seal_current()
                self._answer([(item.done, None)])
            elif item is None:
                self._seal_current()
                return

    def _commit(self, group: Sequence[_Append]) -> None:
        """Write and sync a group, on a second segment when the first one fails, and answer its callers."""
        outcome: int | SluiceError
        try:
            outcome = self._write_group(group)
        except OSError as error:
            outcome = self._recover_group(group, error)
        except Exception as error:  # noqa: BLE001 - the thread must outlive any surprise and answer its callers
            self._retire(error)
            outcome = Unavailable(f"The log failed: {type(error).__name__}.", hint="Retry after 2 seconds.")
        self._answer([(entry.done, outcome) for entry in group])

    def _recover_group(self, group: Sequence[_Append], error: OSError) -> int | SluiceError:
        if error.errno in _FULL:
            self._take_back(error)
            return OutOfSpace("The disk is full; nothing was stored.", hint="Retry after 10 seconds.")
        self._retire(error)
        try:
            return self._write_group(group)
        except OSError as again:
            self._retire(again)
            return Unavailable("The disk failed; nothing was stored.", hint="Retry after 2 seconds.")

    def _write_group(self, group: Sequence[_Append]) -> int:
        limits = self._limits
        size = sum(len(part) for entry in group for part in entry.parts)
        current = self._current
        if self.disk.free_bytes(self.folder.folder) < self._room_for_flushing() + size:
            raise OSError(errno.ENOSPC, "less room is left than flushing needs")
        if current is not None and (
            current.written >= limits.segment_bytes or current.weight >= limits.segment_weight
        ):
            failpoints.hit("wal.rotate")
            self._seal_current()
        current = self._current = self._current or self._open_segment()
        parts: list[bytes] = []
        for sequence, entry in enumerate(group, current.sequence):
            parts += (
                encode_header(self.folder.writer.key, current.number, sequence, *entry.parts),
                *entry.parts,
            )
        failpoints.hit("wal.append.pre_write")
        self._write_parts(current, parts)
        failpoints.hit("wal.append.post_write")
        current.written += size + HEADER_BYTES * len(group)
        failpoints.hit("wal.append.pre_fsync")
        self.disk.sync(current.descriptor)
        failpoints.hit("wal.append.post_fsync")
        current.synced = current.written
        current.sequence += len(group)
        current.weight += sum(entry.weight for entry in group)
        return current.number

    def _room_for_flushing(self) -> int:
        """Return the bytes that must stay free: rows take about as much room again as their log."""
        with self._guard:
            waiting = sum(self._sealed_bytes.values())
        if self._current is not None:
            waiting += self._current.written
        return self._reserve + waiting if self._reserve else 0

    def _write_parts(self, current: _Current, parts: list[bytes]) -> None:
        if failpoints.armed("wal.append.mid_write"):
            middle = len(parts[-1]) // 2
            self.disk.write(current.descriptor, [*parts[:-1], parts[-1][:middle]])
            failpoints.hit("wal.append.mid_write")
            parts = [parts[-1][middle:]]
        self.disk.write(current.descriptor, parts)

    def _open_segment(self) -> _Current:
        number, path, descriptor = self.folder.create()
        return _Current(number, Segment(number, path), descriptor)

    def _take_back(self, error: OSError) -> None:
        """Cut what a failed write left behind the last synced byte; retire the segment if even that fails."""
        current = self._current
        if current is None:
            return
        try:
            self.disk.truncate(current.descriptor, current.synced)
            current.written = current.synced
        except OSError:
            self._retire(error)

    def _retire(self, error: Exception) -> None:
        """Stop using the open segment; only its synced bytes count from now on."""
        current, self._current = self._current, None
        if current is None:
            return
        log.error(WAL_SEGMENT_RETIRED, segment=current.number, synced=current.synced, error=str(error))
        with contextlib.suppress(OSError):
            # So that a restart does not see the unacknowledged rest; batch ids tell copies apart if this
            # fails.
            self.disk.truncate(current.descriptor, current.synced)
            self.disk.sync(current.descriptor)
        self._close(current, limit=current.synced)

    def _seal_current(self) -> None:
        current = self._current
        if current is not None and current.synced:
            self._current = None
            self._close(current, limit=current.synced)

    def _close(self, current: _Current, *, limit: int) -> None:
        with contextlib.suppress(OSError):
            self.disk.close(current.descriptor)
        with self._guard:
            self._sealed.append(Segment(current.number, current.segment.path, limit))
            self._sealed_bytes[current.number] = current.written

    def _answer(self, outcomes: Sequence[tuple[asyncio.Future[Any], object]]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        with contextlib.suppress(RuntimeError):  # the loop closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(_settle, outcomes)


def _settle(outcomes: Sequence[tuple[asyncio.Future[Any], object]]) -> None:
    """Answer the waiting callers; one that was cancelled meanwhile is passed over."""
    for done, outcome in outcomes:
        if done.done():
            continue
        if isinstance(outcome, Exception):
            done.set_exception(type(outcome)(outcome.message, hint=outcome.hint)) if isinstance(
                outcome, SluiceError
            ) else done.set_exception(outcome)
        else:
            done.set_result(outcome)
