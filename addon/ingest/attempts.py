"""How often the program died while it flushed a segment: kept on disk, so that no batch kills it for ever.

A batch that crashes a parser of ours (in C, say) takes the whole program with it, and would do so again at
each start, since its segment is flushed first. So before a segment that an earlier run left is flushed, a
marker with the number of tries is made durable; it goes with the segment. After some deaths the segment's
batches are tried in a process of their own (``probe``), and those that kill it are put aside. Deaths alone
prove nothing: others may kill us as often. Segments of the running process cost nothing: they are marked
only once they have been left.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from addon.ingest.disk import Disk

DEATHS_SEEN = "flush_died_before"
_SUSPECT_AFTER = 3

log = get_logger(__name__)


class DeadlyBatchError(Exception):
    """A process died while it decoded this batch."""


@dataclass(slots=True)
class _Marker:
    segment: int = -1
    deaths: int = 0
    """Tries that did not end, this one included while it runs."""


class Attempts:
    """The marker ``flushing.json`` in the log's folder; one thread at a time."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        """Take the folder; nothing is read before ``load``."""
        self._path = folder / "flushing.json"
        self._disk = disk
        self._marker = _Marker()
        self._left_until = -1

    def load(self, left_until: int) -> None:
        """Read what an earlier run left; segments up to ``left_until`` are marked from now on."""
        self._left_until = left_until
        try:
            self._marker = _Marker(**json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return
        except (ValueError, TypeError):  # torn: it says nothing
            self._marker = _Marker()
        if self._marker.deaths > 1:
            log.error(DEATHS_SEEN, **asdict(self._marker))

    def begin(self, segment: int) -> None:
        """Count a try at a segment, durably, where it was left by an earlier run."""
        if segment > self._left_until:
            return
        if self._marker.segment != segment:
            self._marker = _Marker(segment)
        self._marker.deaths += 1
        self._store()

    def failed(self) -> None:
        """Take a try back that ended with an error: nothing died."""
        if self._marker.segment >= 0 and self._marker.deaths:
            self._marker.deaths -= 1
            with contextlib.suppress(OSError):  # then the try counts as a death, which does no harm
                self._store()

    def end(self, segment: int) -> None:
        """Forget a segment that is flushed."""
        if self._marker.segment == segment:
            self._marker = _Marker()
            with contextlib.suppress(OSError):  # a marker of a segment that is gone says nothing
                self._disk.remove(self._path)

    def suspect(self, segment: int) -> bool:
        """Tell whether the program died so often in the segment that its batches must be looked at."""
        return self._marker.segment == segment and self._marker.deaths > _SUSPECT_AFTER

    def _store(self) -> None:
        draft = self._path.with_suffix(".draft")
        self._disk.remove(draft)
        descriptor = self._disk.create(draft)
        try:
            self._disk.write(descriptor, [json.dumps(asdict(self._marker)).encode()])
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        draft.replace(self._path)
        self._disk.sync_folder(self._path.parent)
