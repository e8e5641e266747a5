"""A drain: takes frames, gathers them to request bodies, delivers them, counts what it could not deliver."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.clock import rfc3339_micros
from platform_core.base.logs import get_logger
from platform_core.logplex.buffer import CountingBuffer, Loss
from platform_core.logplex.delivery import Outcome, Sender, Verdict
from platform_core.logplex.frame import Frame
from platform_core.wire.logplex import encode_lines, line_header
from platform_core.wire.notices import PRI_NOTICE, bad_certificate, drain_overflow

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from platform_core.base.clock import Clock
    from platform_core.logplex.settings import LogplexSettings
    from platform_core.logplex.spill import SpillQueue
    from platform_core.models.logs import Drain

_log = get_logger(__name__)
_SPILL_MESSAGES = 1 << 20  # bytes are the bound that counts for a drain with spill


@dataclass(frozen=True, slots=True)
class DrainStats:
    """A drain's counters, in messages: ``received = delivered + dropped + buffered``.

    While a frame is on its way to disk it may be counted as buffered twice for a moment.
    """

    received: int
    delivered: int
    dropped: int
    buffered: int
    spilled_bytes: int
    failures: int
    """Failed requests since the last good one."""


class DrainWorker:
    """One drain at work."""

    def __init__(
        self,
        drain: Drain,
        settings: LogplexSettings,
        clock: Clock,
        context: ssl.SSLContext,
        *,
        announce: Callable[[bytes], None],
        spill: SpillQueue | None = None,
    ) -> None:
        """Prepare the drain; ``announce`` puts a line of our own into the channel.

        Raises:
            InvalidInput: the drain's URL is not one we can send to.
        """
        self.drain = drain
        self._settings = settings
        self._clock = clock
        self._announce = announce
        self._spill = spill
        self._context = context
        self._sender = Sender(drain, settings, context)
        if spill is None:
            self._buffer = CountingBuffer(settings.drain_messages, settings.drain_bytes)
        else:
            self._buffer = CountingBuffer(_SPILL_MESSAGES, 2 * settings.spill_bytes)
        self._loss = Loss()
        self._recovered = spill.messages if spill is not None else 0
        self._delivered = 0
        self._refused = 0
        self._held: Frame | None = None
        self._moving: Frame | None = None
        self._failures = 0
        self._seq = 0
        self._certificate_announced = False
        self._closing = False
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._high = asyncio.Event()
        self._order = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin delivering; needs the running event loop."""
        self._tasks.append(asyncio.create_task(self._run(), name=f"drain {self.drain.id}"))
        if self._spill is not None:
            self._tasks.append(asyncio.create_task(self._move_to_disk(), name=f"spill {self.drain.id}"))

    def push(self, frames: Sequence[bytes]) -> None:
        """Take frames. What does not fit displaces the oldest, counted; with spill it goes to disk."""
        lost = self._buffer.push(frames)
        if lost:
            self._loss.add(lost, self._clock.now())
        self._arrived.set()
        if self._buffer.bytes >= self._settings.batch_bytes:
            self._full.set()
            if self._buffer.bytes >= self._settings.spill_bytes // 8:
                self._high.set()
            if self._spill is not None and self._buffer.bytes > self._settings.spill_bytes:
                self._spill_at_once(self._spill)

    def _spill_at_once(self, spill: SpillQueue) -> None:
        """Write to disk here and now: a flood is slowed down to the disk's pace rather than lost."""
        while self._buffer.bytes > self._settings.spill_bytes:
            frame = self._cut_frame()
            if not spill.store(frame):
                self._count_loss(frame, "the spill quota is full")

    def stats(self) -> DrainStats:
        """Return the counters."""
        held = self._held
        moving = self._moving.messages if self._moving is not None else 0
        in_memory = len(self._buffer) + moving + (held.messages if held and not held.stored else 0)
        on_disk = self._spill.messages if self._spill is not None else 0
        return DrainStats(
            received=self._buffer.received + self._recovered,
            delivered=self._delivered,
            dropped=self._buffer.displaced + self._refused,
            buffered=in_memory + on_disk,
            spilled_bytes=self._spill.bytes if self._spill is not None else 0,
            failures=self._failures,
        )

    async def _run(self) -> None:
        while not (self._closing and self._idle()):
            try:
                frame = await self._next_frame()
                if frame is not None:
                    self._held = frame
                    await self._deliver(frame)
                    self._held = None
            except Exception:  # noqa: BLE001 - a drain must outlive any fault of ours, and count what it cost
                await self._survive()

    async def _survive(self) -> None:
        """Go on after an error that nobody foresaw; a frame in hand is lost unless it is on disk."""
        _log.exception("drain_crashed", drain=self.drain.id)
        self._failures += 1
        held, self._held = self._held, None
        if held is not None and not held.stored:
            self._count_loss(held, "an internal error")
        await self._back_off()

    def _idle(self) -> bool:
        return not self._buffer and not self._spill

    async def _next_frame(self) -> Frame | None:
        """Return the oldest frame: from disk while there is any, then from memory. None: look again."""
        if self._idle():
            if self._closing:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        if not self._spill:
            await self._linger()
        async with self._order:
            if self._spill:
                return await asyncio.to_thread(self._spill.head)
            return self._cut_frame() if self._buffer else None

    async def _linger(self) -> None:
        """Give a short batch a moment to grow."""
        if self._closing or self._buffer.bytes >= self._settings.batch_bytes:
            return
        self._full.clear()
        try:
            async with asyncio.timeout(self._settings.linger):
                await self._full.wait()
        except TimeoutError:
            pass

    def _cut_frame(self) -> Frame:
        """Make the oldest messages a frame, with the notice of a loss at its head."""
        loss = self._loss.take()
        messages = self._buffer.take(self._settings.batch_bytes)
        notice = self._notice(loss) if loss.count else []
        if self._spill is not None:
            self._seq = self._spill.next_seq()
        body = b"".join([*notice, *messages])
        return Frame(self._seq, body, len(messages), loss.count, loss.since)

    def _notice(self, loss: Loss) -> list[bytes]:
        header = line_header(PRI_NOTICE, rfc3339_micros(self._clock.now()), "heroku", "logplex")
        text = drain_overflow(self.drain.token, loss.count, rfc3339_micros(loss.since))
        return encode_lines(header, [text])

    async def _deliver(self, frame: Frame) -> None:
        """Bring one frame to an end: delivered, given up, or kept on disk for the next round."""
        for attempt in range(1, self._settings.tries + 1):
            verdict = await self._sender.post(frame)
            if verdict.outcome is Outcome.DELIVERED:
                self._succeeded(frame)
                return
            self._note_failure(verdict)
            if verdict.outcome is Outcome.REFUSED:
                self._give_up(frame, verdict.reason)
                return
            if await self._kept_on_disk(frame):
                self._held = None
                await self._back_off()
                return
            if attempt < self._settings.tries:
                await self._back_off()
        self._give_up(frame, verdict.reason)

    def _succeeded(self, frame: Frame) -> None:
        self._forget_stored(frame)
        self._held = None
        self._delivered += frame.messages
        self._failures = 0
        self._certificate_announced = False
        if self._spill is None and self._buffer.max_messages != self._settings.drain_messages:
            self._buffer.resize(self._settings.drain_messages)

    def _note_failure(self, verdict: Verdict) -> None:
        self._failures += 1
        _log.info("drain_failed", drain=self.drain.id, reason=verdict.reason, failures=self._failures)
        if verdict.bad_certificate and not self._certificate_announced:
            self._certificate_announced = True
            self._announce(bad_certificate(verdict.reason, self._sender.url))
        if self._spill is None and self._failures == self._settings.shrink_after:
            self._loss.add(self._buffer.resize(self._settings.shrunk_messages), self._clock.now())

    def _give_up(self, frame: Frame, reason: str) -> None:
        self._forget_stored(frame)
        self._held = None
        self._count_loss(frame, reason)

    def _count_loss(self, frame: Frame, reason: str) -> None:
        """Count a frame as lost, with the losses that its notice could not tell."""
        self._refused += frame.messages
        self._loss.add(frame.messages, self._clock.now())
        self._loss.add(frame.announced, frame.announced_since or self._clock.now())
        _log.warning("drain_dropped", drain=self.drain.id, messages=frame.messages, reason=reason)

    def _forget_stored(self, frame: Frame) -> None:
        if frame.stored and self._spill is not None:
            self._spill.remove_head()

    async def _kept_on_disk(self, frame: Frame) -> bool:
        if frame.stored:
            return True
        if self._spill is None:
            return False
        async with self._order:
            return await asyncio.to_thread(self._spill.store, frame)

    async def _back_off(self) -> None:
        """Wait: random within a window that doubles with every failure."""
        window = 2 ** min(self._failures, self._settings.backoff_doublings) - 1
        await asyncio.sleep(self._settings.backoff_slot * random.uniform(0.5, 1) * window)  # noqa: S311 - jitter

    async def _move_to_disk(self) -> None:
        """Keep memory small while the receiver is slow or away."""
        while True:
            self._high.clear()
            await self._high.wait()
            await self._spill_buffer(down_to=self._settings.batch_bytes)

    async def _spill_buffer(self, down_to: int) -> None:
        spill = self._spill
        while spill is not None and self._buffer.bytes > down_to:
            async with self._order:  # the sender must not overtake what is on its way to disk
                if self._buffer:
                    self._moving = self._cut_frame()
                kept = await self._finish_move(spill)
            if not kept:
                return

    async def _finish_move(self, spill: SpillQueue) -> bool:
        """Store the frame that is on its way to disk; False when it had to be given up."""
        frame = self._moving
        if frame is None:
            return True
        kept = await asyncio.to_thread(spill.store, frame)
        self._moving = None
        if not kept:
            self._count_loss(frame, "the spill quota is full")
        return kept

    def retarget(self, drain: Drain) -> Sender:
        """Send to another URL or under another token from now on; return the old sender, to be closed."""
        before, self._sender = self._sender, Sender(drain, self._settings, self._context)
        self.drain = drain
        return before

    async def close(self) -> None:
        """Deliver what can be delivered quickly, keep the rest on disk if the drain spills, then stop."""
        self._closing = True
        self._arrived.set()
        self._full.set()
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=self._settings.close_grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._keep_the_rest()
        await self._sender.close()

    async def _keep_the_rest(self) -> None:
        held, self._held = self._held, None
        if held is not None and not await self._kept_on_disk(held):
            self._give_up(held, "stopped")
        if self._spill is not None:
            await self._finish_move(self._spill)
        await self._spill_buffer(down_to=0)

    async def destroy(self) -> None:
        """Stop at once and delete what is on disk: the drain is gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sender.close()
        if self._spill is not None:
            await asyncio.to_thread(self._spill.destroy)
