"""logplex-1 bodies to columns, many frames at once with numpy and Arrow; exact, with ``wire`` as its oracle.

Frames are found by their headers, ``<PRI>1 ``. Given where each header starts, the lengths before them are
known up to their number of digits; when every length's text says exactly that, and the first frame starts
the first body, the framing is right by induction. One mismatch anywhere, and the bodies are walked one by
one by ``wire``. Where there is the compiled kernel, it walks them first, and finds the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from addon.warehouse.scan.library import kernel
from addon.warehouse.scan.log_frames import find_frames
from platform_core.wire import logplex, octets, syslog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.warehouse.scan.log_frames import LogFrames

Ints = np.ndarray[Any, np.dtype[np.int64]]

_DIGITS = octets.MAX_DIGITS
_POWERS = 10 ** np.arange(_DIGITS, dtype=np.int64)
_MAX_PRI = 191
_PRI_DIGITS = 3
_NINE = 9
_SPACES = 6
"""Spaces of a header: after the version, time stamp, host, app, process and message id."""
_WIDTHS = np.array([64, 255, 48, 128, 32])
"""RFC 5424's longest time stamp, host, app, process and message id."""


@dataclass(frozen=True, slots=True)
class BadFrame:
    """Bytes that are no message: the body they are in, their place among the segment's frames, and why."""

    body: int
    data: bytes
    reason: str


@dataclass(slots=True)
class LogColumns:
    """The messages of some bodies, in order. Arrays have one element per message."""

    body: Ints
    """Index of the body."""
    frame: Ints
    """Index of the frame among all, bad ones included."""
    pri: Ints
    stamp: pa.Array
    source: pa.Array
    process: pa.Array
    message: pa.Array
    """Binary, as are stamp, source and process; without the newline that ends it."""
    bad: list[BadFrame] = field(default_factory=list)
    frames: int = 0
    """Frames in all, bad ones included."""


def _digit_counts(values: Ints) -> Ints:
    return np.searchsorted(_POWERS, values, side="right").astype(np.int64)


def _guess_frames(buffer: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[Ints, Ints, Ints] | None:
    """Return (start, header start, end) of every frame, None when the guess does not prove itself."""
    close = np.flatnonzero(buffer[: -len("1 ")] == ord(">"))
    close = close[(buffer[close + 1] == ord("1")) & (buffer[close + 2] == ord(" "))]
    open_ = np.full(len(close), -1, np.int64)
    for width in (2, 3, 4):
        at = np.maximum(close - width, 0)
        open_ = np.where((open_ < 0) & (buffer[at] == ord("<")) & (close >= width), at, open_)
    header = open_[open_ >= len("1 ")]
    header = header[buffer[header - 1] == ord(" ")]
    if not len(header):
        return None
    gaps = np.diff(np.append(header, len(buffer)))
    digits = _digit_counts(gaps)
    for _ in range(3):
        following = np.append(digits[1:] + 1, 0)
        digits = _digit_counts(gaps - following)
    lengths = gaps - np.append(digits[1:] + 1, 0)
    starts = header - 1 - digits
    if starts[0] != 0 or int(lengths.max()) > octets.MAX_FRAME or int(digits.min()) < 1:
        return None
    values = np.zeros(len(header), np.int64)
    for place in range(int(digits.max())):
        has = digits > place
        figure = buffer[np.maximum(header - 2 - place, 0)].astype(np.int64) - ord("0")
        if bool((has & ((figure < 0) | (figure > _NINE))).any()):
            return None
        values += np.where(has, figure * _POWERS[place], 0)
    if not np.array_equal(values, lengths):
        return None
    return starts, header, header + lengths


def _walk_frames(bodies: Sequence[bytes]) -> tuple[Ints, Ints, Ints, list[BadFrame]]:
    """Find the frames body by body, exactly; return also what could not be read."""
    headers: list[int] = []
    ends: list[int] = []
    owner: list[int] = []
    lost: list[BadFrame] = []
    base = 0
    for index, body in enumerate(bodies):
        split = logplex.decode_body(body)
        position = base
        for frame in split.frames:
            head = position + len(str(len(frame))) + 1
            headers.append(head)
            position = head + len(frame)
            ends.append(position)
            owner.append(index)
        if split.lost is not None:
            reason = f"framing_lost at byte {split.lost.offset}: {split.lost.reason}"
            lost.append(BadFrame(index, split.rest, reason))
        base += len(body)
    return (np.array(headers, np.int64), np.array(ends, np.int64), np.array(owner, np.int64), lost)


def _all_in(rising: Ints, wanted: Ints) -> bool:
    """Tell whether every wanted number is among the rising ones."""
    places = np.minimum(np.searchsorted(rising, wanted), len(rising) - 1)
    return bool(np.array_equal(rising[places], wanted))


def parse_bodies(bodies: Sequence[bytes], *, compiled: bool = True) -> LogColumns:
    """Return the messages of the bodies as columns; what is no message is in ``bad``. Never raises.

    ``compiled``: use the compiled kernel where there is one.
    """
    joined, found = b"".join(bodies), None
    loaded = kernel() if compiled else None
    if loaded is not None:
        found = find_frames(loaded, joined, [len(body) for body in bodies])
    if found is not None:
        return _of_frames(joined, found)
    buffer = np.frombuffer(joined, np.uint8)
    body_starts = np.concatenate([[0], np.cumsum([len(body) for body in bodies])]).astype(np.int64)
    guess = _guess_frames(buffer) if len(buffer) >= len("1 <0>1 ") else None
    lost: list[BadFrame] = []
    if guess is not None and _all_in(guess[0], body_starts[:-1]):
        starts, header, end = guess
        owner = np.searchsorted(body_starts, starts, side="right") - 1
    else:
        header, end, owner, lost = _walk_frames(bodies)
    return _fields(joined, buffer, header, end, owner, lost=lost)


def _of_frames(joined: bytes, found: LogFrames) -> LogColumns:
    """Return the columns of the messages that the kernel found."""
    stamp, source, process, message = _pieces(joined, found.bounds)
    columns = LogColumns(
        found.owner, found.frame, found.pri, stamp, source, process, message, frames=found.total
    )
    if not len(found.odd):
        return columns
    header, end, owner, index = found.odd.T
    return _with_odd(columns, joined, header, end, owner=owner, index=index)


def _fields(
    joined: bytes,
    buffer: np.ndarray[Any, np.dtype[np.uint8]],
    header: Ints,
    end: Ints,
    owner: Ints,
    *,
    lost: list[BadFrame],
) -> LogColumns:
    """Cut the headers of all frames at their spaces; odd ones go to ``wire`` one by one."""
    spaces = np.flatnonzero(buffer == ord(" "))
    first = np.searchsorted(spaces, header)
    index = first[:, None] + np.arange(_SPACES)
    cut = np.append(spaces, np.full(_SPACES, len(buffer)))[np.minimum(index, len(spaces) + _SPACES - 1)]
    pri, good = _priorities(buffer, header, cut[:, 0])
    good &= cut[:, -1] < end
    widths = np.diff(cut, axis=1) - 1
    good &= ((widths >= 1) & (widths <= _WIDTHS)).all(axis=1)
    text_end = end - ((end > 0) & (buffer[np.maximum(end - 1, 0)] == ord("\n")) & (end - 1 > cut[:, -1]))
    kept = np.flatnonzero(good)
    cut, stop = cut[kept], text_end[kept]
    bounds = np.stack(
        [cut[:, 0] + 1, cut[:, 1], cut[:, 2] + 1, cut[:, 3], cut[:, 3] + 1, cut[:, 4], cut[:, 5] + 1, stop],
        axis=1,
    ).astype(np.int32)
    stamp, source, process, message = _pieces(joined, bounds)
    columns = LogColumns(owner[kept], kept, pri[kept], stamp, source, process, message, frames=len(header))
    odd = np.flatnonzero(~good)
    if len(odd):
        columns = _with_odd(columns, joined, header[odd], end[odd], owner=owner[odd], index=odd)
    columns.bad += lost
    return columns


def _pieces(joined: bytes, bounds: np.ndarray[Any, np.dtype[np.int32]]) -> list[pa.Array]:
    """Return time stamp, source, process and message: every other piece of one array over the whole body."""
    if not len(bounds):
        return [pa.array([], pa.binary())] * 4
    offsets = pa.py_buffer(np.ascontiguousarray(bounds))
    pieces = pa.BinaryArray.from_buffers(pa.binary(), bounds.size - 1, [None, offsets, pa.py_buffer(joined)])
    picks = np.arange(len(bounds)) * 8
    return [pieces.take(pa.array(picks + offset)) for offset in (0, 2, 4, 6)]


def _priorities(
    buffer: np.ndarray[Any, np.dtype[np.uint8]], header: Ints, version_end: Ints
) -> tuple[Ints, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return each frame's PRI, and whether the frame starts with ``<PRI>1 `` with a PRI of 0 to 191."""
    width = version_end - header - 3
    inside = np.minimum(version_end, len(buffer) - 1)
    good = (width >= 1) & (width <= _PRI_DIGITS) & (version_end < len(buffer)) & (buffer[header] == ord("<"))
    good &= (buffer[np.maximum(inside - 1, 0)] == ord("1")) & (buffer[np.maximum(inside - 2, 0)] == ord(">"))
    value = np.zeros(len(header), np.int64)
    for place in range(_PRI_DIGITS):
        figure = buffer[np.minimum(header + 1 + place, len(buffer) - 1)].astype(np.int64) - ord("0")
        has = place < width
        good &= ~has | ((figure >= 0) & (figure <= _NINE))
        value = np.where(has, value * 10 + figure, value)
    leading_zero = (width > 1) & (buffer[np.minimum(header + 1, len(buffer) - 1)] == ord("0"))
    return value, good & (value <= _MAX_PRI) & ~leading_zero


def _with_odd(
    columns: LogColumns, joined: bytes, header: Ints, end: Ints, *, owner: Ints, index: Ints
) -> LogColumns:
    """Add the frames whose header is unusual, as ``wire`` reads them; what it refuses is bad."""
    extra: list[tuple[int, int, syslog.SyslogMessage]] = []
    for start, stop, body, frame in zip(
        *(part.tolist() for part in (header, end, owner, index)), strict=True
    ):
        data = joined[start:stop]
        try:
            extra.append((body, frame, logplex.parse_frame(data)))
        except syslog.SyslogError as error:
            columns.bad.append(BadFrame(body, data, f"not_syslog: {error}"))
    if not extra:
        return columns
    return _merged(columns, extra)


def _merged(columns: LogColumns, extra: list[tuple[int, int, syslog.SyslogMessage]]) -> LogColumns:
    """Return the columns with the extra messages in their places."""
    frame = np.concatenate([columns.frame, [frame for _, frame, _ in extra]])
    order = np.argsort(frame, kind="stable")
    picks = pa.array(order)

    def joined(array: pa.Array, values: list[bytes]) -> pa.Array:
        return pa.concat_arrays([array, pa.array(values, pa.binary())]).take(picks)

    return LogColumns(
        np.concatenate([columns.body, [body for body, _, _ in extra]])[order],
        frame[order],
        np.concatenate([columns.pri, [message.pri for _, _, message in extra]])[order],
        joined(columns.stamp, [message.timestamp for _, _, message in extra]),
        joined(columns.source, [message.app_name for _, _, message in extra]),
        joined(columns.process, [message.procid for _, _, message in extra]),
        joined(columns.message, [message.msg.removesuffix(b"\n") for _, _, message in extra]),
        columns.bad,
        columns.frames,
    )
