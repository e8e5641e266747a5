"""Flushes segments one after the other; one that keeps failing by itself blocks nothing else for long."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from addon.ingest.quarantine import is_machines_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from addon.ingest.flusher import Flushed, Flusher
    from addon.ingest.record import Record
    from addon.ingest.segments import Segment, SegmentFolder

_ISOLATE_AFTER, _GIVE_UP_AFTER = 3, 6
"""Failures of a segment, none the machine's fault, until it is taken apart, and until it is put aside."""


class StubbornSegments:
    """Knows how often each segment failed; one call at a time, in a worker thread."""

    def __init__(
        self,
        flusher: Flusher,
        folder: SegmentFolder,
        choose: Callable[[Sequence[Record], int], Sequence[Record]],
    ) -> None:
        """Take what flushes, and what leaves out the records that are copies of others."""
        self._flusher = flusher
        self._folder = folder
        self._choose = choose
        self._failures: Counter[int] = Counter()

    def flush(self, segment: Segment) -> Flushed:
        """Flush a segment; one that failed often is taken apart, then put aside.

        Raises:
            OSError, SluiceError: nothing is lost; call again later.
        """
        attempts = self._flusher.attempts
        try:
            attempts.begin(segment.number)
            with self._folder.flushing():
                done = self._flush(segment, self._failures[segment.number])
        except Exception as error:
            if not is_machines_fault(error):
                self._failures[segment.number] += 1
            attempts.failed()
            raise
        self._failures.pop(segment.number, None)
        attempts.end(segment.number)
        return done

    def _flush(self, segment: Segment, failures: int) -> Flushed:
        if failures >= _GIVE_UP_AFTER:
            return self._flusher.give_up(segment)
        deadly = self._flusher.deadly(segment)
        isolate = failures >= _ISOLATE_AFTER or bool(deadly)
        return self._flusher.flush(segment, choose=self._choose, isolate=isolate, deadly=deadly)
