"""Syslog records to rows: the same tables and rules as drained log lines, plus host, msgid, structured data.

The receiver has taken the senders' tokens out. Who a line is from comes from the record's meta data.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from addon.ingest.decode_logplex import (
    SEQUENCE_BITS,
    LogLines,
    as_text,
    origin_of_lines,
    stamps_us,
    whole_seconds,
)
from addon.ingest.log_tables import SEVERITIES
from platform_core.wire import bsd, syslog
from platform_core.wire.octets import split_octets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.limits import IngestLimits
    from addon.ingest.record import Record
    from addon.ingest.rows import Decoded

_NIL = b"-"
_BOM = b"\xef\xbb\xbf"


def decode_syslog(
    records: Sequence[Record], segment: int, limits: IngestLimits, out: Decoded, *, first: int = 0
) -> None:
    """Add the rows and dead letters of a segment's syslog records, numbered from ``first``."""
    accounts: defaultdict[int, list[Record]] = defaultdict(list)
    for record in records:
        accounts[record.batch.account_id].append(record)
    base = (segment << SEQUENCE_BITS) + first
    for account, own in accounts.items():
        base += SyslogLines(account, own, base, limits, out).decode()


class _Line(NamedTuple):
    """One message, before its fields become columns."""

    body: int
    frame: int
    pri: int
    stamp: bytes
    host: bytes
    source: bytes
    process: bytes
    msgid: bytes
    structured_data: str | None
    message: bytes


@dataclass(slots=True)
class SyslogLines(LogLines):
    """The syslog records of one account in one segment."""

    _elements: dict[bytes, str | None] = field(default_factory=dict)
    """Structured data by its raw text: a sender repeats it line by line."""

    def decode(self) -> int:
        """Add everything; return how many sequence numbers were used."""
        lines: list[_Line] = []
        frames = 0
        for index, record in enumerate(self.records):
            for message in split_octets(record.batch.body).frames:
                frames += 1
                try:
                    lines.append(self._line(index, frames, message))
                except syslog.SyslogError as error:
                    origin = origin_of_lines(record)
                    self.out.add_dead(self.account, origin, f"not_syslog: {error}", message)
        if lines:
            self.route(self._table(_Line(*map(list, zip(*lines, strict=True)))))  # type: ignore[arg-type]
        return frames + 1

    def _line(self, body: int, frame: int, message: bytes) -> _Line:
        """Read a message of either kind.

        Raises:
            SyslogError: it is of neither.
        """
        if message.partition(b" ")[0].endswith(b">1"):
            found = syslog.parse_without_structured_data(message)
            if found.msg.startswith(b"- "):  # most have none, and are read twice as fast
                data, text = None, found.msg[2:].removeprefix(_BOM)
            else:
                found = syslog.parse(message, syslog.StructuredData.PRESENT)
                data, text = self._structured(found.structured_data or _NIL), found.msg
            pri, stamp, host, source, process, msgid = found[:6]
            text = text.removesuffix(b"\n")
            return _Line(body, frame, pri, stamp, host, source, process, msgid, data, text)
        old = bsd.parse_message(message)
        stamp = bsd.rfc3339(old.timestamp, self.records[body].batch.received_at)
        text = old.msg.removesuffix(b"\n")
        return _Line(
            body, frame, old.pri, stamp, old.hostname or _NIL, old.tag or _NIL, old.procid, _NIL, None, text
        )

    def _structured(self, raw: bytes) -> str | None:
        if raw == _NIL:
            return None
        if raw not in self._elements:
            self._elements[raw] = msgspec.json.encode(syslog.parse_structured_data(raw)).decode()
        return self._elements[raw]

    def _table(self, columns: _Line) -> pa.Table:
        """Return the lines as ``LogLines.route`` takes them; the fields of ``columns`` are lists."""
        body = np.array(columns.body, np.int64)
        micros = stamps_us(pa.array(columns.stamp, pa.binary()), body, self.records)
        owner = pa.array(body)

        def meta(key: str) -> pa.Array:
            values = pa.array([record.batch.meta.get(key) for record in self.records], pa.string())
            return values.take(owner)

        return pa.table(
            {
                "time": whole_seconds(micros),
                "app": meta("app"),
                "source": _named(columns.source),
                "process": _named(columns.process),
                "severity": pa.array(SEVERITIES).take(pa.array(np.array(columns.pri, np.int64) & 7)),
                "timestamp_us": micros,
                "drain": meta("drain"),
                "seq": pa.array(np.array(columns.frame, np.int64) + self.base),
                "message": as_text(pa.array(columns.message, pa.binary())),
                "body": owner,
                "host": _named(columns.host),
                "msgid": _named(columns.msgid),
                "structured_data": pa.array(columns.structured_data, pa.string()),
            }
        )


def _named(values: bytes) -> pa.Array:
    """Return a header field as text, null where the sender gave none."""
    texts = as_text(pa.array(values, pa.binary()))
    absent = pc.or_(pc.equal(texts, "-"), pc.equal(texts, ""))
    return pc.if_else(absent, pa.scalar(None, pa.string()), texts)
