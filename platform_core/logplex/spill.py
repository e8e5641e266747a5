"""A drain's queue on disk: undelivered frames, oldest first, within a quota; survives a restart.

One file per frame, ``<seq>-<messages>-<announced>-<frame id>.frame``, written beside, synced and renamed, so
that a file that has its name is whole.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from platform_core.base.logs import get_logger
from platform_core.logplex.frame import Frame

if TYPE_CHECKING:
    from pathlib import Path

_log = get_logger(__name__)
_SUFFIX = ".frame"
_FIELDS = 4


@dataclass(frozen=True, slots=True)
class _Entry:
    seq: int
    messages: int
    announced: int
    frame_id: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.seq:016d}-{self.messages}-{self.announced}-{self.frame_id}{_SUFFIX}"


class SpillQueue:
    """The frames of one drain on disk. Blocking calls; the drain makes them in a thread."""

    def __init__(self, folder: Path, quota: int) -> None:
        """Open the queue in ``folder`` and take in what an earlier run has left there."""
        self._folder = folder
        self._quota = quota
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for unfinished in folder.glob("*.part"):
            unfinished.unlink()
        entries = [_entry(path.name, path.stat().st_size) for path in sorted(folder.glob(f"*{_SUFFIX}"))]
        self._entries: deque[_Entry] = deque(entry for entry in entries if entry is not None)
        self.bytes = sum(entry.size for entry in self._entries)
        self.messages = sum(entry.messages for entry in self._entries)
        self._next_seq = self._entries[-1].seq + 1 if self._entries else 0

    def __len__(self) -> int:
        """Frames waiting."""
        return len(self._entries)

    def next_seq(self) -> int:
        """Reserve the next place in the order."""
        self._next_seq += 1
        return self._next_seq - 1

    def store(self, frame: Frame) -> bool:
        """Keep a frame, in the place that its ``seq`` gives it; False when quota or disk are full.

        Storing it again changes nothing, so a caller that was cancelled half-way may repeat the call.
        """
        with self._lock:
            return any(entry.seq == frame.seq for entry in self._entries) or self._store(frame)

    def _store(self, frame: Frame) -> bool:
        size = len(frame.body)
        if self.bytes + size > self._quota:
            return False
        entry = _Entry(frame.seq, frame.messages, frame.announced, frame.id, size)
        try:
            self._write(entry.name, frame.body)
        except OSError as error:
            _log.warning("spill_write_failed", folder=self._folder.name, error=str(error))
            return False
        self._insert(entry)
        self.bytes += size
        self.messages += frame.messages
        return True

    def _write(self, name: str, body: bytes) -> None:
        part = self._folder / f"{name}.part"
        try:
            with part.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _insert(self, entry: _Entry) -> None:
        """Put an entry in its place; what failed in flight is older than what was spilled meanwhile."""
        newer: list[_Entry] = []
        while self._entries and self._entries[-1].seq > entry.seq:
            newer.append(self._entries.pop())
        self._entries.append(entry)
        self._entries.extend(reversed(newer))

    def head(self) -> Frame | None:
        """Return the oldest frame without removing it; a file that cannot be read is set aside."""
        while self._entries:
            entry = self._entries[0]
            try:
                body = (self._folder / entry.name).read_bytes()
            except OSError as error:
                _log.error("spill_read_failed", frame=entry.name, error=str(error))
                self._drop_entry()
                continue
            return replace(
                Frame(entry.seq, body, entry.messages, entry.announced), id=entry.frame_id, stored=True
            )
        return None

    def _drop_entry(self) -> None:
        entry = self._entries.popleft()
        self.bytes -= entry.size
        self.messages -= entry.messages

    def remove_head(self) -> None:
        """Forget the oldest frame: it was delivered or refused."""
        name = self._entries[0].name
        self._drop_entry()
        (self._folder / name).unlink(missing_ok=True)

    def destroy(self) -> None:
        """Delete the queue and all that is in it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._entries.clear()
        self.bytes = self.messages = 0


def _entry(name: str, size: int) -> _Entry | None:
    parts = name.removesuffix(_SUFFIX).split("-")
    if len(parts) != _FIELDS or not all(part.isdigit() for part in parts[:-1]):
        _log.warning("spill_file_unknown", name=name)
        return None
    return _Entry(int(parts[0]), int(parts[1]), int(parts[2]), parts[3], size)
