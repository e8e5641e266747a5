"""msgpack rows to JSON lines: fast for plain rows, exact for the rest, dead letters for what JSON cannot say.

What has a stated meaning: text as ``str`` or ``bin`` (UTF-8) alike; NaN is a missing value; infinities
become the texts "Infinity" and "-Infinity"; a key twice in a map is kept twice and sorted out by the
typing. Extension types, keys that are no text, and bytes that are no UTF-8 make the row a dead letter.
"""

from __future__ import annotations

import contextlib
import gc
import math
import struct
import threading
from typing import TYPE_CHECKING, Any

import msgpack
import msgspec
import numpy as np

from addon.ingest.json_lines import as_array
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from addon.ingest.rows import Decoded, Origin
    from addon.models.tables import TableRef

Ints = np.ndarray[Any, np.dtype[np.int64]]

_CHUNK_ROWS = 8_192
"""Rows decoded in one call: bounds how long the interpreter lock is held, to tens of milliseconds."""
_NESTING = 6
_FIXMAP, _MAP16, _MAP32 = 0x80, 0xDE, 0xDF
"""First bytes of a map: up to 15 members in the low half byte, or 2 or 4 bytes of count behind."""
_FLOAT32, _FLOAT64 = 0xCA, 0xCB


def _rows_type() -> Any:
    """Return the type of a plain row: text keys, no bytes or extensions down to six levels."""
    value: Any = str | int | float | bool | None
    for _ in range(_NESTING):
        value = str | int | float | bool | None | list[value] | dict[str, value]
    return list[dict[str, value]]


_decoder: msgspec.msgpack.Decoder[list[dict[str, Any]]] = msgspec.msgpack.Decoder(_rows_type())
_encoder = msgspec.json.Encoder()
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_pauses = 0
_pause_guard = threading.Lock()


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cyclic collector off while many small containers are made; it halves the speed otherwise."""
    global _pauses  # noqa: PLW0603 - the collector is global, so is the count of who wants it off
    with _pause_guard:
        _pauses += 1
        gc.disable()
    try:
        yield
    finally:
        with _pause_guard:
            _pauses -= 1
            if not _pauses:
                gc.enable()


def boundaries(data: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return where each row starts, and the end: n + 1 offsets.

    Raises:
        InvalidInput: not a stream of whole msgpack maps; the message names the row.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    offsets = [0]
    try:
        while True:
            unpacker.skip()
            offsets.append(unpacker.tell())
    except msgpack.OutOfData:
        pass
    except (ValueError, msgpack.UnpackException) as error:
        raise InvalidInput(
            f"Row {len(offsets)} is not valid msgpack ({type(error).__name__}).",
            hint="Send msgpack maps, one a row.",
        ) from error
    if offsets[-1] != len(data):
        raise InvalidInput(f"Row {len(offsets)} is cut short.", hint="Resend the whole body.")
    starts = np.array(offsets, np.int64)
    first = np.frombuffer(data, np.uint8)[starts[:-1]]
    wrong = np.flatnonzero(((first & 0xF0) != _FIXMAP) & (first != _MAP16) & (first != _MAP32))
    if len(wrong):
        raise InvalidInput(
            f"Row {int(wrong[0]) + 1} is not a map.", hint="Send msgpack maps of column names to values."
        )
    return starts


def decode_msgpack(
    data: bytes, ref: TableRef, origin: Origin, out: Decoded, *, record_bytes: int, create: bool = False
) -> None:
    """Add the rows of a decompressed body that ``boundaries`` accepts."""
    starts = boundaries(data)
    with collector_paused():
        for first in range(0, len(starts) - 1, _CHUNK_ROWS):
            chunk = starts[first : first + _CHUNK_ROWS + 1]
            lines = _fast(data, chunk, record_bytes)
            if lines is None:
                lines = _exact(data, chunk, ref, origin, out, record_bytes=record_bytes)
            out.add_lines(ref, as_array(lines), origin, create=create)


def _fast(data: bytes, starts: np.ndarray[Any, np.dtype[np.int64]], record_bytes: int) -> bytes | None:
    """Return the rows as JSON lines, None when any of them is not plain."""
    rows = plain_rows(data, starts, record_bytes)
    return None if rows is None else _encoder.encode_lines(rows)


def plain_rows(
    data: bytes, starts: np.ndarray[Any, np.dtype[np.int64]], record_bytes: int
) -> list[dict[str, Any]] | None:
    """Return the rows as dicts, None when any of them is not plain: no text key, odd float, doubled key."""
    body = data[starts[0] : starts[-1]]
    if int(np.diff(starts).max()) > record_bytes:
        return None
    try:
        rows = _decoder.decode(b"\xdd" + struct.pack(">I", len(starts) - 1) + body)
    except _FAULTS:
        return None
    suspects = np.unique(np.searchsorted(starts - starts[0], _odd_floats(body), side="right") - 1)
    if any(_not_finite(rows[row]) for row in suspects.tolist()):
        return None
    if not np.array_equal(
        np.fromiter(map(len, rows), np.int64, len(rows)), _member_counts(data, starts[:-1])
    ):
        return None  # a key twice: the decoder kept the last one only
    return rows


def _odd_floats(body: bytes) -> Ints:
    """Return where a float may start whose exponent is all ones: NaN or infinite, if it is a float at all."""
    data = np.frombuffer(body, np.uint8)
    at = np.flatnonzero((data[1:-1] | 0x80) == 0xFF)  # noqa: PLR2004 - 7F or FF: sign and the exponent's top
    before, behind = data[at], data[at + 2]
    wide = (before == _FLOAT64) & (behind >= 0xF0)  # noqa: PLR2004 - the exponent's last four bits
    found: Ints = at[wide | ((before == _FLOAT32) & (behind >= 0x80))].astype(np.int64)  # noqa: PLR2004 - its last
    return found


def _not_finite(value: Any) -> bool:
    """Tell whether there is a NaN or an infinity in a value."""
    if isinstance(value, dict):
        return any(map(_not_finite, value.values()))
    if isinstance(value, list):
        return any(map(_not_finite, value))
    return isinstance(value, float) and not math.isfinite(value)


def _member_counts(
    data: bytes, starts: np.ndarray[Any, np.dtype[np.int64]]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return how many members each map's header announces."""
    counts: Ints = np.frombuffer(data, np.uint8)[starts].astype(np.int64)
    long = np.flatnonzero(counts >= _MAP16)
    counts &= 0x0F
    for index in long:
        start = int(starts[index])
        width = 2 if data[start] == _MAP16 else 4
        counts[index] = int.from_bytes(data[start + 1 : start + 1 + width], "big")
    return counts


class NotJsonError(ValueError):
    """The row holds something that JSON cannot say."""


class _Pairs(list[tuple[Any, Any]]):
    """A map's members in their order, repeats included."""


def _extension(code: int, _data: bytes) -> Any:
    raise NotJsonError(f"extension_type_{code}")


def _exact(
    data: bytes,
    starts: np.ndarray[Any, np.dtype[np.int64]],
    ref: TableRef,
    origin: Origin,
    out: Decoded,
    *,
    record_bytes: int,
) -> bytes:
    """Return the good rows as JSON lines; the others become dead letters."""
    lines = []
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        row = data[start:end]
        try:
            lines.append(row_to_json(row, record_bytes))
        except NotJsonError as error:
            out.add_dead(ref.account_id, origin, str(error), row, ref=ref)
    return b"".join(line + b"\n" for line in lines)


def row_to_json(row: bytes, record_bytes: int = 1 << 20) -> bytes:
    """Return one msgpack map of at most ``record_bytes`` as JSON text.

    Raises:
        NotJsonError: it holds something that JSON cannot say, or too much.
    """
    if len(row) > record_bytes:
        raise NotJsonError("record_too_long")
    try:
        members = msgpack.unpackb(
            row, raw=True, strict_map_key=False, object_pairs_hook=_Pairs, ext_hook=_extension
        )
        return _text(members).encode()
    except NotJsonError:
        raise
    except RecursionError as error:
        raise NotJsonError("nested_too_deep") from error
    except UnicodeDecodeError as error:
        raise NotJsonError("not_utf8") from error
    except (ValueError, msgpack.UnpackException) as error:
        raise NotJsonError(f"malformed_msgpack: {type(error).__name__}") from error


def _text(value: Any) -> str:
    """Return a decoded value's JSON text."""
    if isinstance(value, bytes):
        return msgspec.json.encode(value.decode("utf-8")).decode()
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{_key(key)}:{_text(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, float) and value in {float("inf"), float("-inf")}:
        return '"Infinity"' if value > 0 else '"-Infinity"'
    if isinstance(value, bool | int | float) or value is None:
        return msgspec.json.encode(value).decode()
    raise NotJsonError(f"{type(value).__name__.lower()}_value")


def _key(key: Any) -> str:
    if not isinstance(key, bytes):
        raise NotJsonError("key_is_not_text")
    return _text(key)
