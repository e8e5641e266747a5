"""Which segment was being flushed when the program died: kept on disk, so that no batch kills it for ever.

A batch that crashes a parser of ours (in C, say) takes the whole program with it, and would do so again at
each start, since its segment is flushed first. So before a segment that an earlier run left is flushed, a
marker with the number of tries is made durable; it goes with the segment. After three deaths the segment's
batches are taken one by one, each named in the marker first; one that was named at two deaths is put aside.
Segments of the running process cost nothing: they are marked only once they have been left.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from addon.ingest.disk import Disk

DEATHS_SEEN = "flush_died_before"
_SINGLY_AFTER, _DEADLY_AFTER, _GIVE_UP_AFTER = 3, 2, 7

log = get_logger(__name__)


class DeadlyBatchError(Exception):
    """The program died while it decoded this batch, more than once."""


@dataclass(slots=True)
class _Marker:
    segment: int = -1
    deaths: int = 0
    """Tries that did not end, this one included while it runs."""
    batch: str = ""
    """The batch that is being decoded by itself."""
    batch_deaths: dict[str, int] = field(default_factory=dict)


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
        if self._marker.batch:
            deaths = self._marker.batch_deaths
            deaths[self._marker.batch] = deaths.get(self._marker.batch, 0) + 1
            self._marker.batch = ""
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
            self._disk.remove(self._path)

    def singly(self, segment: int) -> bool:
        """Tell whether the segment's batches must be taken one by one."""
        return self._marker.segment == segment and self._marker.deaths > _SINGLY_AFTER

    def hopeless(self, segment: int) -> bool:
        """Tell whether even that did not help: the commit itself must be what kills."""
        return self._marker.segment == segment and self._marker.deaths > _GIVE_UP_AFTER

    def begin_batch(self, segment: int, batch_id: str) -> None:
        """Name the batch that is decoded next, durably.

        Raises:
            DeadlyBatchError: the program died in it before, more than once.
        """
        marker = self._marker
        if marker.segment != segment:
            return
        deaths = marker.batch_deaths.get(batch_id, 0)
        if deaths >= _DEADLY_AFTER:
            raise DeadlyBatchError(f"the program died in it {deaths} times")
        marker.batch = batch_id
        self._store()

    def end_batches(self) -> None:
        """Name no batch any more: what kills now is not one of them."""
        if self._marker.batch:
            self._marker.batch = ""
            self._store()

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
