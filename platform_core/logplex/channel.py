"""A channel: the stream of one app's lines, its recent history, and those who listen."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from platform_core.logplex.batch import Batch
from platform_core.wire.logplex import encode_lines, line_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from platform_core.models.logs import LogFilter


class Listener(Protocol):
    """Somebody who gets every batch from now on: a tail session."""

    def offer(self, batch: Batch) -> None:
        """Take a batch; never blocks."""

    def end(self) -> None:
        """No more will come."""


class FrameSink(Protocol):
    """Somebody who gets every line as a logplex-1 frame: a drain."""

    def push(self, frames: Sequence[bytes]) -> None:
        """Take frames; never blocks."""


class Channel:
    """One app's lines. Event ids rise strictly, also over a restart: the first one is the time in µs."""

    def __init__(self, first_id: int, history_lines: int) -> None:
        """Number lines from ``first_id`` on and remember the last ``history_lines``."""
        self._next_id = first_id
        self._history_lines = history_lines
        self._history: deque[Batch] = deque()
        self._remembered = 0
        self.listeners: set[Listener] = set()
        self.sinks: Sequence[FrameSink] = ()
        self.received = 0

    def append(self, pri: int, timestamp: str, source: str, process: str, lines: Sequence[bytes]) -> None:
        """Number the lines, remember them, hand them on."""
        batch = Batch(self._next_id, timestamp, source, process, lines)
        self._next_id += len(lines)
        self.received += len(lines)
        self._remember(batch)
        for listener in self.listeners:
            listener.offer(batch)
        if self.sinks:
            frames = encode_lines(line_header(pri, timestamp, source, process), lines)
            for sink in self.sinks:
                sink.push(frames)

    def _remember(self, batch: Batch) -> None:
        self._history.append(batch)
        self._remembered += len(batch.lines)
        while self._remembered - len(self._history[0].lines) >= self._history_lines:
            self._remembered -= len(self._history.popleft().lines)

    def backlog(self, wanted: LogFilter, after: int | None) -> Iterator[Batch]:
        """Yield the remembered batches that the filter shows, oldest first.

        With ``after``: all that came behind this event id. Without: the last ``wanted.lines`` lines.
        """
        limit = self._history_lines if after is not None else min(wanted.lines, self._history_lines)
        chosen: list[Batch] = []
        for batch in reversed(self._history):
            part = batch if after is None else batch.after(after)
            if limit <= 0 or part is None:
                break
            if part.matches(wanted):
                chosen.append(part.newest(limit))
                limit -= len(chosen[-1].lines)
        return reversed(chosen)

    def end(self) -> None:
        """Tell every listener that this was all."""
        for listener in tuple(self.listeners):
            listener.end()
