"""Framing of syslog on a byte stream (RFC 6587): octet counting, and a trailer after each message.

``docs/formats/octet-framing.md`` describes both with an example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_DIGITS = 7
"""A length has at most this many digits; a longer one is an attack or lost framing."""
MAX_FRAME = 1 << 20
"""Default cap on one message, in bytes."""
_ZERO = 0x30
_LESS_THAN = 0x3C


@dataclass(frozen=True, slots=True)
class FramingLost:
    """Where and why a stream stopped making sense; what follows cannot be told apart into messages."""

    offset: int
    """Bytes from the beginning of the stream (or body) to the length that is wrong."""
    reason: str


@dataclass(frozen=True, slots=True)
class Split:
    """The complete messages of a buffer. ``used`` bytes are done with; the rest waits for more."""

    frames: list[bytes]
    used: int
    lost: FramingLost | None = None


def split_octets(data: bytes, *, max_frame: int = MAX_FRAME) -> Split:
    """Cut ``data`` into its octet-counted messages: ``<length> SP <message>``, repeated.

    Never raises. On a bad length the messages before it are returned, and ``lost`` says where it stands.
    """
    frames: list[bytes] = []
    append = frames.append
    find = data.find
    position, end = 0, len(data)
    while position < end:
        space = find(b" ", position, position + MAX_DIGITS + 1)
        if space < 0:
            return Split(frames, position, _bad_head(data, position))
        digits = data[position:space]
        if not digits.isdigit() or digits[0] == _ZERO:
            return Split(frames, position, FramingLost(position, "the length is not a positive number"))
        size = int(digits)
        if size > max_frame:
            reason = f"the length {size} is over the limit of {max_frame} bytes"
            return Split(frames, position, FramingLost(position, reason))
        start = space + 1
        following = start + size
        if following > end:
            break
        append(data[start:following])
        position = following
    return Split(frames, position)


def _bad_head(data: bytes, position: int) -> FramingLost | None:
    """Judge a head without a space: None while it may still become a length."""
    head = data[position : position + MAX_DIGITS + 1]
    if not head.isdigit() or head[0] == _ZERO:
        return FramingLost(position, "the length is not a positive number")
    if len(head) > MAX_DIGITS:
        return FramingLost(position, f"the length has more than {MAX_DIGITS} digits")
    return None


def join_octets(messages: Iterable[bytes]) -> bytes:
    """Return the messages with their lengths before them, as one stream. Empty messages have no frame."""
    return b"".join([b"%d %b" % (len(message), message) for message in messages if message])


class FrameDecoder(Protocol):
    """Turns the chunks of one stream into messages."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, return the messages that are complete now."""

    @property
    def lost(self) -> FramingLost | None:
        """Set once framing is lost; from then on ``feed`` returns nothing."""


class OctetDecoder:
    """Octet counting over chunks. Holds at most one incomplete message and the last chunk."""

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        """Refuse messages over ``max_frame`` bytes."""
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._offset = 0
        self.lost: FramingLost | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, return the messages that are complete now."""
        if self.lost is not None:
            return []
        self._buffer += data
        if self._incomplete():
            return []
        split = split_octets(bytes(self._buffer), max_frame=self._max_frame)
        if split.lost is not None:
            self.lost = FramingLost(self._offset + split.lost.offset, split.lost.reason)
        del self._buffer[: split.used]
        self._offset += split.used
        return split.frames

    def _incomplete(self) -> bool:
        """Tell cheaply that a big message is still arriving, so that small chunks cost no copies."""
        space = self._buffer.find(b" ", 0, MAX_DIGITS + 1)
        digits = bytes(self._buffer[:space])
        if space <= 0 or not digits.isdigit() or digits[0] == _ZERO:
            return False
        size = int(digits)
        return size <= self._max_frame and len(self._buffer) < space + 1 + size

    @property
    def pending(self) -> bytes:
        """The bytes that belong to no complete message yet; after ``lost``, all that could not be read."""
        return bytes(self._buffer)


class TrailerDecoder:
    """A trailer after each message: LF (the usual one) or NUL (Python's ``SysLogHandler``).

    Empty messages are left out. A message over the cap loses the framing: what follows it might be
    anything.
    """

    def __init__(self, trailer: bytes = b"\n", *, max_frame: int = MAX_FRAME) -> None:
        """End messages at ``trailer``, one byte."""
        self._trailer = trailer
        self._max_frame = max_frame
        self._buffer = bytearray()
        self._searched = 0
        self._offset = 0
        self.lost: FramingLost | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, return the messages that are complete now."""
        if self.lost is not None:
            return []
        self._buffer += data
        last = self._buffer.rfind(self._trailer, self._searched)
        complete: Sequence[bytes] = ()
        if last >= 0:
            complete = bytes(self._buffer[:last]).split(self._trailer)
        frames, good = self._within_cap(complete)
        whole = good == len(complete)
        done = last + 1 if whole else sum(len(message) + 1 for message in complete[:good])
        del self._buffer[:done]
        self._offset += done
        self._searched = len(self._buffer)
        if not whole or len(self._buffer) > self._max_frame:
            reason = f"no end of message within {self._max_frame} bytes"
            self.lost = FramingLost(self._offset, reason)
        return frames

    def _within_cap(self, messages: Sequence[bytes]) -> tuple[list[bytes], int]:
        """Return the non-empty messages before the first one over the cap, and how many stand before it."""
        for index, message in enumerate(messages):
            if len(message) > self._max_frame:
                return [m for m in messages[:index] if m], index
        return [m for m in messages if m], len(messages)

    @property
    def pending(self) -> bytes:
        """The bytes of the message that has no trailer yet."""
        return bytes(self._buffer)


def decoder_for(first: bytes, *, max_frame: int = MAX_FRAME) -> OctetDecoder | TrailerDecoder:
    """Choose a stream's framing by its first byte, as RFC 6587 allows: ``<`` starts a bare message.

    The chosen decoder has not been fed ``first`` yet.
    """
    if first[:1] == bytes([_LESS_THAN]):
        return TrailerDecoder(max_frame=max_frame)
    return OctetDecoder(max_frame=max_frame)
