"""WAL frames: bytes in, frames out; no I/O. The format is written up in docs/formats/wal.md.

A frame proves itself: magic, segment, rising sequence, non-zero length, and a CRC over header and payload
that is seeded with the log's own random key, so that bytes a customer sent can never pass for a frame.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

MAGIC = b"\x89SLU\r\n\x1a\n"
"""Eight bytes that no text contains and that a newline conversion breaks visibly."""

_FIXED = struct.Struct(">8sQII")
"""magic, segment (u64), sequence in the segment (u32), payload length (u32)."""
_CRC = struct.Struct(">I")
HEADER_BYTES = _FIXED.size + _CRC.size
MAX_PAYLOAD = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """A valid frame's place in the scanned bytes; ``start`` and ``end`` bound its payload."""

    sequence: int
    start: int
    end: int


@dataclass(slots=True)
class Scan:
    """What a segment's bytes hold."""

    frames: list[Frame] = field(default_factory=list)
    corrupt: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of bad bytes with good frames after them: bit rot, never a torn write."""
    missing: int = 0
    """Frames that must have been in the corrupt ranges, from the gaps in the sequence."""
    valid_end: int = 0
    """Where the last good frame ends; what follows is a torn tail."""


def encode_header(key: int, segment: int, sequence: int, *parts: bytes) -> bytes:
    """Return the header of a frame whose payload is ``parts`` joined.

    Raises:
        ValueError: the payload is empty or longer than 4 GiB - 1.
    """
    length = sum(map(len, parts))
    if not 0 < length <= MAX_PAYLOAD:
        raise ValueError(f"a frame's payload has 1 to {MAX_PAYLOAD} bytes, not {length}")
    fixed = _FIXED.pack(MAGIC, segment, sequence, length)
    crc = zlib.crc32(fixed, key)
    for part in parts:
        crc = zlib.crc32(part, crc)
    return fixed + _CRC.pack(crc)


def _frame_at(data: memoryview, position: int, key: int, segment: int, after: int) -> Frame | None:
    """Return the valid frame that starts at ``position``, or None."""
    start = position + HEADER_BYTES
    if start > len(data):
        return None
    magic, number, sequence, length = _FIXED.unpack_from(data, position)
    if magic != MAGIC or number != segment or sequence <= after or not length:
        return None
    if start + length > len(data):
        return None
    (crc,) = _CRC.unpack_from(data, position + _FIXED.size)
    actual = zlib.crc32(
        data[start : start + length], zlib.crc32(data[position : position + _FIXED.size], key)
    )
    return Frame(sequence, start, start + length) if actual == crc else None


def _next_frame(data: bytes, position: int, key: int, segment: int, after: int) -> tuple[int, Frame] | None:
    """Find the next valid frame at or after ``position`` by its magic."""
    view = memoryview(data)
    while (position := data.find(MAGIC, position)) >= 0:
        frame = _frame_at(view, position, key, segment, after)
        if frame is not None:
            return position, frame
        position += 1
    return None


def scan(data: bytes, key: int, segment: int) -> Scan:
    """Return every valid frame of a segment's bytes, and what is wrong between and behind them."""
    found = Scan()
    view = memoryview(data)
    position, last = 0, -1
    while position < len(data):
        frame = _frame_at(view, position, key, segment, last)
        if frame is None:
            ahead = _next_frame(data, position + 1, key, segment, last)
            if ahead is None:
                break
            found.corrupt.append((position, ahead[0]))
            frame = ahead[1]
        found.missing += frame.sequence - last - 1
        found.frames.append(frame)
        position = found.valid_end = frame.end
        last = frame.sequence
    return found
