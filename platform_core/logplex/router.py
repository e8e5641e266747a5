"""The log router: the front of the room, behind the ``LogRouter`` port."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.clock import rfc3339_micros
from platform_core.base.errors import InvalidInput
from platform_core.logplex.channel import Channel
from platform_core.logplex.delivery import check_url, trust
from platform_core.logplex.drains import DrainStats, DrainWorker
from platform_core.logplex.sessions import Sessions
from platform_core.logplex.spill import SpillQueue
from platform_core.models.logs import PRI_APP, PRI_PLATFORM
from platform_core.wire.logplex import split_long_lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
    from pathlib import Path

    from platform_core.base.clock import Clock
    from platform_core.logplex.settings import LogplexSettings
    from platform_core.models.logs import Drain, LogFilter


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """A channel's counters."""

    received: int
    sessions: int
    drains: Mapping[str, DrainStats]
    """By drain id."""


class Logplex:
    """Channels, log sessions and drains of every app. All methods belong to the event loop's thread."""

    def __init__(
        self,
        settings: LogplexSettings,
        clock: Clock,
        *,
        ca_file: Path | None = None,
        spill_dir: Path | None = None,
        session_key: str | None = None,
    ) -> None:
        """Trust also the authorities in ``ca_file``; keep spilled frames under ``spill_dir``.

        Log sessions outlive a restart when it is given the same ``session_key``.
        """
        self._settings = settings
        self._clock = clock
        self._context = trust(ca_file)
        self._spill_dir = spill_dir
        self._channels: dict[str, Channel] = {}
        self._workers: dict[str, dict[str, DrainWorker]] = {}
        self._sessions = Sessions(settings, clock, session_key)
        self._ending: set[asyncio.Task[None]] = set()
        self._started = False

    async def start(self) -> None:
        """Start the drains set so far; later ones start as they are set."""
        self._started = True
        for workers in self._workers.values():
            for worker in workers.values():
                worker.start()

    async def close(self) -> None:
        """End every tail; give drains a moment to deliver; keep what spilling drains still hold."""
        self._started = False
        for channel in self._channels.values():
            channel.end()
        workers = [worker for group in self._workers.values() for worker in group.values()]
        await asyncio.gather(*(worker.close() for worker in workers), *self._ending)
        self._workers.clear()

    def write(
        self,
        app_id: str,
        source: str,
        process: str,
        lines: Sequence[bytes],
        *,
        pri: int = PRI_APP,
        at: float | None = None,
    ) -> None:
        """Append lines to an app's channel; never blocks, never raises."""
        if not lines:
            return
        timestamp = rfc3339_micros(self._clock.now() if at is None else at)
        self._channel(app_id).append(pri, timestamp, source, process, split_long_lines(tuple(lines)))

    def _channel(self, app_id: str) -> Channel:
        channel = self._channels.get(app_id)
        if channel is None:
            channel = Channel(int(self._clock.now() * 1_000_000), self._settings.history_lines)
            self._channels[app_id] = channel
        return channel

    def set_drains(self, app_id: str, drains: Sequence[Drain]) -> None:
        """Make these the channel's drains; ones that stay keep their buffer and connection.

        Raises:
            InvalidInput: a drain's URL is not one we can send to, or there are too many; nothing is changed.
        """
        if len(drains) > self._settings.drains_per_channel:
            limit = self._settings.drains_per_channel
            raise InvalidInput(f"An app has at most {limit} drains.", hint="Remove one first.")
        for drain in drains:
            check_url(drain.url)
        before = self._workers.get(app_id, {})
        after = {drain.id: self._same_or_new(app_id, before.get(drain.id), drain) for drain in drains}
        self._workers[app_id] = after
        for key, worker in before.items():
            if key not in after:
                self._end(worker.destroy())
        self._channel(app_id).sinks = tuple(after.values())

    def _same_or_new(self, app_id: str, worker: DrainWorker | None, drain: Drain) -> DrainWorker:
        if worker is not None:
            if worker.drain != drain:
                self._end(worker.retarget(drain).close())
            return worker
        new = DrainWorker(
            drain,
            self._settings,
            self._clock,
            self._context,
            announce=lambda line: self.write(app_id, "heroku", "logplex", [line], pri=PRI_PLATFORM),
            spill=self._spill_for(drain),
        )
        if self._started:
            new.start()
        return new

    def _spill_for(self, drain: Drain) -> SpillQueue | None:
        wanted = drain.spill or (drain.addon_id is not None and self._settings.spill_addon_drains)
        if self._spill_dir is None or not wanted:
            return None
        return SpillQueue(self._spill_dir / drain.id, self._settings.spill_quota)

    def _end(self, ending: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def open_session(self, app_id: str, wanted: LogFilter) -> str:
        """Open a log session and return its unguessable id; valid until unread for 6 minutes."""
        return self._sessions.open(app_id, wanted, self._channel(app_id))

    def stream(self, session_id: str, *, after: int | None = None) -> AsyncIterator[tuple[int, str] | None]:
        """Yield ``(event id, line)``, and None as a keep-alive.

        Raises:
            NotFound: no such session, or it has expired.
        """
        return self._sessions.stream(session_id, after, self._channels)

    def stats(self, app_id: str) -> ChannelStats:
        """Return an app's counters; zeros for an app that has never logged."""
        channel = self._channels.get(app_id)
        return ChannelStats(
            received=channel.received if channel is not None else 0,
            sessions=self._sessions.count(app_id),
            drains={key: worker.stats() for key, worker in self._workers.get(app_id, {}).items()},
        )

    def forget(self, app_id: str) -> None:
        """Drop an app's channel, its sessions and drains, and what they have on disk."""
        self._sessions.forget(app_id)
        for worker in self._workers.pop(app_id, {}).values():
            self._end(worker.destroy())
        channel = self._channels.pop(app_id, None)
        if channel is not None:
            channel.end()
