"""A block of records to JSON lines for the typing, and to error records for what cannot be a row.

What a record must be is stricter than in a streaming import: a map whose ``time`` is a whole number of Unix
seconds (Treasure Data's rule for bulk imports). Text may be msgpack ``str`` or ``bin``, as Ruby's client
sends it. A column with an empty name is dropped: pytd sends the index of a data frame as one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from addon.ingest.decode_msgpack import NotJsonError, collector_paused, plain_rows, row_to_json
from addon.warehouse.typing_sql import MAX_TIME, MIN_TIME

if TYPE_CHECKING:
    from addon.bulk.blocks import Block

RECORD_BYTES = 1 << 20
"""A longer record is an error record, as in a streaming import."""
_FIXMAP, _MAP16, _MAP32 = 0x80, 0xDE, 0xDF
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be a row: its bytes, its number within its part (from 1), and why."""

    data: bytes
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rows:
    """The good records of a block as JSON lines, the place of each within the block, and the bad ones."""

    lines: bytes
    places: list[int]
    bad: list[BadRecord]


def time_fault(time: Any) -> str | None:
    """Return why a value is no record's time, None when it is one."""
    if type(time) is int:
        return None if MIN_TIME <= time <= MAX_TIME else "time_is_out_of_range"
    return "time_is_missing" if time is None else "time_is_not_an_integer"


def decode(block: Block) -> Rows:
    """Decode a block's records."""
    with collector_paused():
        if not len(block):
            return Rows(b"", [], [])
        found = _maps_only(block) and plain_rows(block.data, block.starts, RECORD_BYTES)
        return _plain(block, found) if found else _exact(block)


def _maps_only(block: Block) -> bool:
    data, starts = block.data, block.starts[:-1].tolist()
    return all(_is_map(data[start]) for start in starts)


def _is_map(first: int) -> bool:
    return first & 0xF0 == _FIXMAP or first in {_MAP16, _MAP32}


def _plain(block: Block, found: list[dict[str, Any]]) -> Rows:
    """Take rows that are plain: nothing in them changes on the way through JSON."""
    good: list[dict[str, Any]] = []
    places: list[int] = []
    bad: list[BadRecord] = []
    for place, row in enumerate(found):
        fault = time_fault(row.get("time"))
        if fault is not None:
            bad.append(BadRecord(block.object(place), block.first + place, fault))
            continue
        row.pop("", None)
        good.append(row)
        places.append(place)
    return Rows(_encoder.encode_lines(good), places, bad)


def _exact(block: Block) -> Rows:
    """Take the records one by one."""
    lines: list[bytes] = []
    places: list[int] = []
    bad: list[BadRecord] = []
    for place in range(len(block)):
        data = block.object(place)
        try:
            lines.append(_line(data) + b"\n")
            places.append(place)
        except NotJsonError as error:
            bad.append(BadRecord(data, block.first + place, str(error)))
    return Rows(b"".join(lines), places, bad)


def _line(data: bytes) -> bytes:
    """Return a record as JSON text.

    Raises:
        NotJsonError: it cannot be a row; the text says why.
    """
    if not _is_map(data[0]):
        raise NotJsonError("record_is_not_a_map")
    line = row_to_json(data, RECORD_BYTES)
    members: dict[str, Any] = msgspec.json.decode(line)
    fault = time_fault(members.get("time"))
    if fault is not None:
        raise NotJsonError(fault)
    if "" in members:
        del members[""]
        return _encoder.encode(members)
    return line
