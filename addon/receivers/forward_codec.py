"""Fluentd's forward protocol, version 1: bytes of a connection to whole messages, and messages to rows.

A message is a msgpack array. Its second element tells the mode: a time (Message: one event), an array
(Forward: ``[time, record]`` pairs), or bytes (PackedForward: the pairs one after the other, in gzip when
the option ``compressed`` says so). A time is Unix seconds (integer or float) or EventTime, extension type 0:
seconds and nanoseconds, 32 bits each. Newer senders put metadata beside it: ``[[time, {…}], record]``.

A record's bytes are not decoded: the row is the record with the member ``time`` put before its others. A
record that has a ``time`` itself keeps it as ``record_time``; Fluentd's Treasure Data output overwrites it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from addon.ingest.inflate import inflate
from addon.ingest.names import valid_name
from platform_core.base.errors import UserError

if TYPE_CHECKING:
    from addon.ingest.limits import IngestLimits

_FIXMAP, _MAP16, _MAP32 = 0x80, 0xDE, 0xDF
_FIXARRAY, _ARRAY16, _ARRAY32 = 0x90, 0xDC, 0xDD
_FIX_LIMIT = 0x0F
_SHORT = 0xFFFF
_EVENT_TIME = 0
_TIME_KEY = b"\xa4time"
_TIME_KEYS = (_TIME_KEY, b"\xc4\x04time", b"\xd9\x04time")
_MIN_PARTS, _MAX_PARTS = 2, 4
_PAIR = 2
_FAULTS = (ValueError, TypeError, msgpack.UnpackException, RecursionError)


class ForwardError(ValueError):
    """The bytes are not the forward protocol; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as rows: msgpack maps, each with an integer ``time``."""

    database: str
    table: str
    rows: tuple[bytes, ...]
    chunk: str | None
    """What to acknowledge; None when the sender does not wait for it."""


class ForwardStream:
    """Re-entrant: feed it what comes, take the messages that are complete, as bytes."""

    def __init__(self, max_message: int) -> None:
        """Refuse messages over ``max_message`` bytes."""
        self.max_message = max_message
        self._buffer = bytearray()
        self._unpacker = msgpack.Unpacker(max_buffer_size=0)
        self._taken = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, return the messages that are complete now.

        Raises:
            ForwardError: one is too long, or not msgpack.
        """
        self._buffer += data
        messages: list[bytes] = []
        try:
            self._unpacker.feed(data)
            while True:
                self._unpacker.skip()
                end = self._unpacker.tell() - self._taken
                messages.append(bytes(self._buffer[:end]))
                del self._buffer[:end]
                self._taken += end
        except msgpack.OutOfData:
            pass
        except _FAULTS as error:
            raise ForwardError(f"not msgpack ({type(error).__name__})") from error
        longest = max(map(len, messages), default=0)
        if max(longest, len(self._buffer)) > self.max_message:
            raise ForwardError(f"a message is over the limit of {self.max_message} bytes")
        return messages

    @property
    def pending(self) -> int:
        """How many bytes belong to no complete message."""
        return len(self._buffer)


def read_message(data: bytes, limits: IngestLimits) -> Message:
    """Read one whole message.

    Raises:
        ForwardError: it is not one of the four modes, its tag names no table, or it inflates to too much.
    """
    try:
        return _read(data, limits)
    except ForwardError:
        raise
    except UserError as error:
        raise ForwardError(error.message) from error
    except _FAULTS as error:
        raise ForwardError(f"malformed msgpack ({type(error).__name__})") from error


def _read(data: bytes, limits: IngestLimits) -> Message:
    unpacker = _unpacker(data)
    parts = unpacker.read_array_header()
    if not _MIN_PARTS <= parts <= _MAX_PARTS:
        raise ForwardError(f"a message has 2 to 4 parts, not {parts}")
    database, table = target(unpacker.unpack())
    entries: bytes | None = None
    rows: tuple[bytes, ...] = ()
    taken = 2
    first = data[unpacker.tell()]
    if _is_array(first) and not _is_time_pair(data, unpacker.tell()):
        count = unpacker.read_array_header()
        rows = tuple(_entry(unpacker, data) for _ in range(count))
    else:
        second = unpacker.unpack()
        if isinstance(second, bytes | str):
            entries = second if isinstance(second, bytes) else second.encode("utf-8", "surrogateescape")
        else:
            rows, taken = (_row(event_second(second), _raw(unpacker, data)),), 3
    option = unpacker.unpack() if parts > taken else {}
    if not isinstance(option, dict):
        option = {}
    if entries is not None:
        rows = _packed(entries, _compression(option), limits)
    return Message(database, table, rows, _chunk(option))


def _unpacker(data: bytes) -> Any:
    unpacker = msgpack.Unpacker(
        max_buffer_size=max(len(data), 1),
        raw=False,
        unicode_errors="surrogateescape",
        strict_map_key=True,  # of options and metadata: a list as a key could not even be looked up
    )
    unpacker.feed(data)
    return unpacker


def _is_array(first: int) -> bool:
    return _FIXARRAY <= first <= _FIXARRAY | _FIX_LIMIT or first in {_ARRAY16, _ARRAY32}


def _is_time_pair(data: bytes, at: int) -> bool:
    """Tell Message mode with metadata, ``[time, {…}]``, from Forward mode's array of entries."""
    return data[at] == _FIXARRAY | _PAIR and not _is_array(data[at + 1])


def target(tag: object) -> tuple[str, str]:
    """Return (database, table) of a tag: its last two parts, made valid as Treasure Data does.

    Raises:
        ForwardError: it has no two parts.
    """
    if isinstance(tag, bytes):
        tag = tag.decode("utf-8", "replace")
    parts = tag.split(".") if isinstance(tag, str) else []
    if len(parts) < _PAIR or not all(parts[-_PAIR:]):
        raise ForwardError(f"the tag {str(tag)[:80]!r} names no table; use td.DATABASE.TABLE")
    return valid_name(parts[-2]), valid_name(parts[-1])


def event_second(value: Any) -> int:
    """Return the Unix second of an event's time.

    Raises:
        ForwardError: it is no time.
    """
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, msgpack.ExtType) and value.code == _EVENT_TIME and len(value.data) == 8:  # noqa: PLR2004 - two 32-bit numbers
        return int(struct.unpack(">I", value.data[:4])[0])
    if isinstance(value, msgpack.Timestamp):
        return int(value.seconds)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 62:
        return int(value)
    raise ForwardError(f"a {type(value).__name__} is no event time")


def _entry(unpacker: Any, data: bytes) -> bytes:
    """Read ``[time, record]`` and return it as a row."""
    if unpacker.read_array_header() != _PAIR:
        raise ForwardError("an entry is not [time, record]")
    second = event_second(unpacker.unpack())
    return _row(second, _raw(unpacker, data))


def _raw(unpacker: Any, data: bytes) -> bytes:
    start = unpacker.tell()
    unpacker.skip()
    return data[start : unpacker.tell()]


def _row(second: int, record: bytes) -> bytes:
    """Return a record with the member ``time`` before its others."""
    first = record[0]
    if _FIXMAP <= first <= _FIXMAP | _FIX_LIMIT:
        count, members = first & _FIX_LIMIT, record[1:]
    elif first == _MAP16:
        count, members = int.from_bytes(record[1:3], "big"), record[3:]
    elif first == _MAP32:
        count, members = int.from_bytes(record[1:5], "big"), record[5:]
    else:
        raise ForwardError("a record is not a map")
    if any(key in members for key in _TIME_KEYS):
        count, members = _renamed(record)
    return b"".join((_map_header(count + 1), _TIME_KEY, msgpack.packb(second), members))


def _renamed(record: bytes) -> tuple[int, bytes]:
    """Return a record's members with its own ``time`` as ``record_time``; values' bytes stay as they are."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(record), raw=True, strict_map_key=False)
    unpacker.feed(record)
    count = unpacker.read_map_header()
    pieces = []
    for _ in range(count):
        key = _raw(unpacker, record)
        pieces += [b"\xabrecord_time" if key in _TIME_KEYS else key, _raw(unpacker, record)]
    return count, b"".join(pieces)


def _map_header(count: int) -> bytes:
    if count <= _FIX_LIMIT:
        return bytes([_FIXMAP | count])
    if count <= _SHORT:
        return bytes([_MAP16]) + count.to_bytes(2, "big")
    return bytes([_MAP32]) + count.to_bytes(4, "big")


def _compression(option: dict[Any, Any]) -> str:
    given = option.get("compressed", option.get(b"compressed"))
    return given.decode("latin-1") if isinstance(given, bytes) else str(given or "text")


def _chunk(option: dict[Any, Any]) -> str | None:
    chunk = option.get("chunk", option.get(b"chunk"))
    if isinstance(chunk, bytes):
        chunk = chunk.decode("latin-1")
    return chunk if isinstance(chunk, str) and chunk else None


def _packed(entries: bytes, compression: str, limits: IngestLimits) -> tuple[bytes, ...]:
    if compression == "gzip":
        entries = inflate(entries, limits)
    elif compression != "text":
        raise ForwardError(f"the compression {compression[:20]!r} is not supported; use gzip or text")
    unpacker = _unpacker(entries)
    rows: list[bytes] = []
    while unpacker.tell() < len(entries):
        try:
            rows.append(_entry(unpacker, entries))
        except msgpack.OutOfData:
            raise ForwardError("the packed entries are cut short") from None
    return tuple(rows)
