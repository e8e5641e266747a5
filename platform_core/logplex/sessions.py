"""Log sessions: what `heroku logs` reads, with or without --tail.

A session's id says all about it and is signed, so that a reader finds its session again after a restart of
the platform: a tail goes on with what is written from then on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.clock import rfc3339_micros
from platform_core.base.errors import NotFound
from platform_core.base.ids import new_secret
from platform_core.logplex.batch import Batch
from platform_core.logplex.buffer import Loss
from platform_core.logplex.session_ids import SessionIds
from platform_core.wire.notices import tail_overflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from platform_core.base.clock import Clock
    from platform_core.logplex.channel import Channel
    from platform_core.logplex.settings import LogplexSettings
    from platform_core.models.logs import LogFilter


class Tail:
    """What a reader has yet to see of a channel. Bounded: a slow reader loses the oldest, counted (L11)."""

    def __init__(self, wanted: LogFilter, max_messages: int, clock: Clock) -> None:
        """Keep at most ``max_messages`` lines that ``wanted`` shows."""
        self._wanted = wanted
        self._max_messages = max_messages
        self._clock = clock
        self._batches: deque[Batch] = deque()
        self._waiting = 0
        self._loss = Loss()
        self._last_lost = 0
        self._something = asyncio.Event()
        self.ended = False

    def offer(self, batch: Batch) -> None:
        """Take a batch; never blocks."""
        if not batch.matches(self._wanted):
            return
        self._batches.append(batch)
        self._waiting += len(batch.lines)
        while self._waiting > self._max_messages:
            self._displace(self._waiting - self._max_messages)
        self._something.set()

    def _displace(self, surplus: int) -> None:
        oldest = self._batches.popleft()
        rest = oldest.newest(max(len(oldest.lines) - surplus, 0))
        lost = len(oldest.lines) - len(rest.lines)
        if rest.lines:
            self._batches.appendleft(rest)
        self._waiting -= lost
        self._loss.add(lost, self._clock.now())
        self._last_lost = oldest.first_id + lost - 1

    def end(self) -> None:
        """No more will come."""
        self.ended = True
        self._something.set()

    async def take(self, timeout: float) -> Batch | None:  # noqa: ASYNC109 - silence is an answer here, not an error
        """Return the next batch, or None after ``timeout`` seconds of silence or at the end."""
        try:
            async with asyncio.timeout(timeout):
                while not self._batches and not self.ended:
                    self._something.clear()
                    await self._something.wait()
        except TimeoutError:
            return None
        if self._loss.count:
            return self._notice()
        if not self._batches:
            return None
        batch = self._batches.popleft()
        self._waiting -= len(batch.lines)
        return batch

    def _notice(self) -> Batch:
        """Return the L11 line; it carries the id of the last line that was lost, so ids still rise."""
        loss = self._loss.take()
        line = tail_overflow(loss.count, rfc3339_micros(loss.since))
        return Batch(self._last_lost, rfc3339_micros(self._clock.now()), "heroku", "logplex", (line,))


@dataclass(slots=True)
class LogSession:
    """An open log session; ``idle_since`` in Unix seconds, while nobody reads it."""

    app_id: str
    wanted: LogFilter
    channel: Channel
    idle_since: float
    readers: int = 0


class Sessions:
    """Every log session there is, by its unguessable id."""

    def __init__(self, settings: LogplexSettings, clock: Clock, key: str | None) -> None:
        """Sessions die when unread for ``settings.session_life``; the same ``key`` outlives a restart."""
        self._settings = settings
        self._clock = clock
        self._ids = SessionIds(key or new_secret())
        self._started = clock.now()
        self._sessions: dict[str, LogSession] = {}

    def open(self, app_id: str, wanted: LogFilter, channel: Channel) -> str:
        """Open a session and return its id."""
        self._expire()
        session_id = self._ids.seal(app_id, wanted, self._clock.now())
        self._sessions[session_id] = LogSession(app_id, wanted, channel, self._clock.now())
        return session_id

    def _expire(self) -> None:
        oldest = self._clock.now() - self._settings.session_life
        gone = [key for key, s in self._sessions.items() if not s.readers and s.idle_since < oldest]
        for key in gone:
            del self._sessions[key]

    def forget(self, app_id: str) -> None:
        """Close an app's sessions."""
        self._sessions = {key: s for key, s in self._sessions.items() if s.app_id != app_id}

    def count(self, app_id: str) -> int:
        """How many sessions an app has."""
        return sum(session.app_id == app_id for session in self._sessions.values())

    def stream(
        self, session_id: str, after: int | None, channels: Mapping[str, Channel]
    ) -> AsyncIterator[tuple[int, str] | None]:
        """Start reading a session; ``channels`` are the apps' that there are.

        Raises:
            NotFound: no such session, or it has expired.
        """
        self._expire()
        session = self._sessions.get(session_id) or self._of_the_last_run(session_id, channels)
        if session is None:
            raise NotFound("There is no such log session.", hint="Open a new one; they expire unread.")
        return self._read(session, after)

    def _of_the_last_run(self, session_id: str, channels: Mapping[str, Channel]) -> LogSession | None:
        """Take up a session that the last run left open, for as long as it would have lived unread."""
        if self._clock.now() - self._started > self._settings.session_life:
            return None
        sealed = self._ids.unseal(session_id)
        if sealed is None or sealed.opened_at >= self._started or sealed.app_id not in channels:
            return None
        session = LogSession(sealed.app_id, sealed.wanted, channels[sealed.app_id], self._clock.now())
        self._sessions[session_id] = session
        return session

    async def _read(self, session: LogSession, after: int | None) -> AsyncIterator[tuple[int, str] | None]:
        session.readers += 1
        tail = Tail(session.wanted, self._settings.tail_messages, self._clock)
        if session.wanted.tail:
            session.channel.listeners.add(tail)  # before the backlog is read: nothing falls between
        try:
            for batch in session.channel.backlog(session.wanted, after):
                for event in batch.render():
                    yield event
            while session.wanted.tail:
                following = await tail.take(self._settings.keepalive)
                if following is None and tail.ended:
                    return
                if following is None:
                    yield None
                    continue
                for event in following.render():
                    yield event
        finally:
            session.channel.listeners.discard(tail)
            session.readers -= 1
            session.idle_since = self._clock.now()
