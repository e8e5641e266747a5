"""Takes a dyno's stdout and stderr from its pipe to the log router, and bounds a flood."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from platform_core.base.clock import rfc3339_micros
from platform_core.dynos.lines import LineSplitter
from platform_core.wire.notices import local_overflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CHUNK = 1 << 16
_WINDOW_S = 1.0
_FLOOD_PAUSE_S = 0.02
"""Between two reads of a flooding dyno: its pipe fills up and slows it down, the loop stays free."""


class OutputPump:
    """Reads one pipe until its end. ``write`` takes batches of lines, ``announce`` a line about a loss."""

    def __init__(
        self,
        descriptor: int,
        write: Callable[[Sequence[bytes]], None],
        announce: Callable[[bytes], None],
        *,
        bytes_per_second: int,
        now: Callable[[], float],
    ) -> None:
        """Take over ``descriptor`` and start reading on the running loop."""
        self._descriptor = descriptor
        self._write = write
        self._announce = announce
        self._budget = bytes_per_second
        self._left = bytes_per_second
        self._now = now
        self._splitter = LineSplitter()
        self._dropped = 0
        self._dropped_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._window_end = self._loop.time() + _WINDOW_S
        self._resume: asyncio.TimerHandle | None = None
        self.ended = asyncio.Event()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._on_readable)

    def close(self) -> None:
        """Stop reading; what was read is handed on."""
        if self.ended.is_set():
            return
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        rest = self._splitter.finish()
        if rest:
            self._write(rest)
        self._tell_loss()
        self.ended.set()

    def _on_readable(self) -> None:
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self.close()
            return
        self._renew_budget()
        lines = self._splitter.feed(chunk)
        if self._left <= 0:
            self._drop(len(lines))
            return
        self._left -= len(chunk)
        if lines:
            self._write(lines)

    def _renew_budget(self) -> None:
        if self._loop.time() >= self._window_end:
            self._window_end = self._loop.time() + _WINDOW_S
            self._left = self._budget
            self._tell_loss()

    def _drop(self, count: int) -> None:
        if not self._dropped:
            self._dropped_since = self._now()
        self._dropped += count
        self._loop.remove_reader(self._descriptor)
        self._resume = self._loop.call_later(_FLOOD_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        self._loop.add_reader(self._descriptor, self._on_readable)

    def _tell_loss(self) -> None:
        if self._dropped:
            self._announce(local_overflow(self._dropped, rfc3339_micros(self._dropped_since)))
            self._dropped = 0
