"""Old-style syslog as it is met: ``<PRI>Mmm dd hh:mm:ss HOST TAG[PID]: MSG`` (RFC 3164), each part optional.

rsyslog's default forwarding writes an RFC 3339 time in the same place; Python's ``SysLogHandler`` writes
neither time nor host. The time has no year and no zone: it is read as UTC, in the year that brings it closest
to the time of receipt.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from platform_core.wire.syslog import SyslogError, parse_bsd

_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_STAMP = re.compile(
    rb"([A-Z][a-z]{2} [ 0-3]?\d(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d+)?"
    rb"|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) ?"
)
_SHORT = re.compile(rb"([A-Z][a-z]{2}) ([ 0-3]?\d)(?: \d{4})? (\d\d):(\d\d):(\d\d)")
_HOST = re.compile(rb"([^\s:\[\]]{1,255}|[0-9A-Fa-f:.]{2,45}) ")
_TAG = re.compile(rb"([^\s:\[\]]{1,255})(?:\[([^\]\s]{0,128})\])?:(?: |$)")


class BsdMessage(NamedTuple):
    """One message; what it does not have is empty."""

    pri: int
    timestamp: bytes
    hostname: bytes
    tag: bytes
    procid: bytes
    msg: bytes

    def encode(self) -> bytes:
        """Return the message as bytes, in the fullest of its forms; ``-`` for a missing host or tag."""
        stamp = self.timestamp + b" " if self.timestamp else b""
        host = (self.hostname or b"-") + b" " if self.timestamp else b""
        pid = b"[%b]" % self.procid if self.procid else b""
        tag = b"%b%b: " % (self.tag, pid) if self.tag else b""
        return b"<%d>%b%b%b%b" % (self.pri, stamp, host, tag, self.msg)


def parse_message(frame: bytes) -> BsdMessage:
    """Read one message. A host is looked for behind a time only, a tag only where a colon ends it.

    Raises:
        SyslogError: there is no PRI.
    """
    pri, rest = parse_bsd(frame)
    stamp = _STAMP.match(rest)
    host = b""
    if stamp is not None:
        rest = rest[stamp.end() :]
        found = _HOST.match(rest)
        if found is not None:
            host, rest = found[1], rest[found.end() :]
    tag = _TAG.match(rest)
    if tag is None:
        return BsdMessage(pri, stamp[1] if stamp else b"", host, b"", b"", rest)
    return BsdMessage(pri, stamp[1] if stamp else b"", host, tag[1], tag[2] or b"", rest[tag.end() :])


def rfc3339(timestamp: bytes, received_at: float) -> bytes:
    """Return a message's time as RFC 3339 text, ``-`` when it has none. ``received_at`` is Unix seconds.

    Raises:
        SyslogError: it is no date in any year.
    """
    if not timestamp:
        return b"-"
    found = _SHORT.match(timestamp)
    if found is None:
        return timestamp
    if found[1] not in _MONTHS:
        raise SyslogError("the month is not one of Jan to Dec")
    month, day = _MONTHS.index(found[1]) + 1, int(found[2])
    hour, minute, second = int(found[3]), int(found[4]), min(int(found[5]), 59)
    near = datetime.fromtimestamp(received_at, UTC)
    best: datetime | None = None
    for year in (near.year - 1, near.year, near.year + 1):
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            continue  # 29 February, or no date at all
        if best is None or abs(moment - near) < abs(best - near):
            best = moment
    if best is None:
        raise SyslogError("the timestamp is not a date")
    return best.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
