"""Syslog on a TCP stream whose framing nobody announces: octet-counted, by LF, or by NUL; message by message.

RFC 6587 says how to tell: a message begins with ``<``, a length with a digit from 1 to 9. Senders that change
their mind, or that end octet-counted messages with a line feed outside the count, are understood as well.
"""

from __future__ import annotations

import re

from platform_core.wire.octets import MAX_DIGITS, MAX_FRAME, FramingLost, split_octets

_FILLER = b"\n\r\x00 "
"""What may stand between messages and belongs to none."""
_FIRST_DIGITS = frozenset(b"123456789")
_COUNT_AFTER = {trailer: re.compile(trailer + rb"(?=[1-9]\d{0,6} <)") for trailer in (b"\n", b"\x00")}
"""Where a run of bare messages ends, because a counted one follows."""
_WINDOW = 16 << 10
"""Bytes looked at in one step: a sender that changes its framing all the time costs copies of no more."""


class SyslogStream:
    """A re-entrant decoder: feed it what comes, take the messages that are complete.

    It holds at most one incomplete message of ``max_frame`` bytes and the last chunk. Bare messages end at
    LF; where a NUL comes with the first of them, at NUL (Python's ``SysLogHandler``).
    """

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        """Refuse messages over ``max_frame`` bytes."""
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._searched = 0
        self._offset = 0
        self._trailer: bytes | None = None
        self.lost: FramingLost | None = None
        """Set once framing is lost; from then on ``feed`` returns nothing."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, return the messages that are complete now."""
        frames: list[bytes] = []
        if self.lost is not None:
            return frames
        self._buffer += data
        while self._next(frames):
            pass
        return frames

    def finish(self) -> bytes:
        """Return the last message of a stream that has ended in order, if its framing lets it end like that.

        An octet-counted message that is short of bytes stays in ``pending``.
        """
        if self.lost is not None or not self._buffer or self._counts(self._buffer):
            return b""
        last = bytes(self._buffer).rstrip(_FILLER)
        self._buffer.clear()
        return last

    @property
    def pending(self) -> bytes:
        """The bytes that belong to no complete message."""
        return bytes(self._buffer)

    def _next(self, frames: list[bytes]) -> bool:
        """Take one run of messages that are framed alike; False when more bytes are needed."""
        if not self._searched:
            self._drop(len(self._buffer) - len(self._buffer.lstrip(_FILLER)))
        if not self._buffer:
            return False
        return self._octets(frames) if self._counts(self._buffer) else self._lines(frames)

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._offset += count

    def _counts(self, head: bytes | bytearray) -> bool:
        """Tell whether a length comes next rather than a bare message."""
        if head[0] not in _FIRST_DIGITS:
            return False
        digits, space, after = bytes(head[: MAX_DIGITS + 2]).partition(b" ")
        if not space:
            return True
        return digits.isdigit() and after[:1] in {b"", b"<"}

    def _octets(self, frames: list[bytes]) -> bool:
        need = self._need()
        if need > len(self._buffer):
            return False
        data = bytes(self._buffer[: max(need, _WINDOW)])
        split = split_octets(data, max_frame=self._max_frame)
        frames += split.frames
        self._drop(split.used)
        if not split.used and split.lost is not None:
            self.lost = FramingLost(self._offset, split.lost.reason)
        # After a bad length: whatever stands there now may be framed otherwise.
        return split.used > 0

    def _need(self) -> int:
        """Return how long the buffer must be to hold the next counted message, or to judge its length."""
        digits, space, _ = bytes(self._buffer[: MAX_DIGITS + 1]).partition(b" ")
        size = int(digits) if space else 0
        return len(digits) + 1 + size if size <= self._max_frame else 0

    def _lines(self, frames: list[bytes]) -> bool:
        trailer = self._chosen_trailer()
        last = -1 if trailer is None else self._buffer.rfind(trailer, self._searched)
        if trailer is None or last < 0:
            self._searched = len(self._buffer)
            if self._searched > self._max_frame:
                self._give_up(0)
            return False
        self._searched = 0
        count = _COUNT_AFTER[trailer].search(self._buffer, 0, last + MAX_DIGITS + len(" <") + 1)
        end = last if count is None else min(count.start(), last)
        lines = bytes(self._buffer[:end]).split(trailer)
        if max(map(len, lines)) > self._max_frame:
            first = next(index for index, line in enumerate(lines) if len(line) > self._max_frame)
            self._give_up(sum(map(len, lines[:first])) + first)
            lines = lines[:first]
        frames += [line.removesuffix(b"\r") for line in lines if line]
        self._drop(end + 1)
        return self.lost is None

    def _give_up(self, offset: int) -> None:
        reason = f"no end of message within {self._max_frame} bytes"
        self.lost = FramingLost(self._offset + offset, reason)

    def _chosen_trailer(self) -> bytes | None:
        if self._trailer is None and (b"\x00" in self._buffer or b"\n" in self._buffer):
            self._trailer = b"\x00" if b"\x00" in self._buffer else b"\n"
        return self._trailer
