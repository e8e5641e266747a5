"""RFC 5424 syslog messages: ``<PRI>1 TIMESTAMP HOST APP PROCID MSGID [SD] MSG``.

Logplex leaves the structured data out, without even the ``-`` in its place, so a reader has to say which
it expects; ``AUTO`` takes both and can be fooled by a message that itself begins like structured data.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

MAX_PRI = 191
"""23 facilities and 7 severities: ``23 * 8 + 7``."""
_NIL = b"-"
_MICROS = 1_000_000
_HEADS = {b"<%d>1" % pri: pri for pri in range(MAX_PRI + 1)}
_LIMITS = (64, 255, 48, 128, 32)
"""Bytes of TIMESTAMP, HOSTNAME, APP-NAME, PROCID and MSGID (RFC 5424 §6)."""

# The lengths are those of RFC 5424 §6; a hostname is printable ASCII, we also take UTF-8 from sloppy senders.
_HEADER = re.compile(
    rb"<(0|[1-9][0-9]{0,2})>([1-9][0-9]{0,2}) "
    rb"([^ ]{1,64}) ([^ ]{1,255}) ([^ ]{1,48}) ([^ ]{1,128}) ([^ ]{1,32})(?: |$)"
)
_SD_VALUE = rb'"(?:[^"\\\]]|\\.)*"'
_SD_NAME = rb'[^ ="\]\x00-\x20\x7f-\xff]{1,32}'
_SD = re.compile(
    rb"(?:\[" + _SD_NAME + rb"(?: " + _SD_NAME + rb"=" + _SD_VALUE + rb")*\])+(?= |$)", re.DOTALL
)
_SD_ELEMENT = re.compile(
    rb"\[(" + _SD_NAME + rb")((?: " + _SD_NAME + rb"=" + _SD_VALUE + rb")*)\]", re.DOTALL
)
_SD_PARAM = re.compile(rb" (" + _SD_NAME + rb")=(" + _SD_VALUE + rb")", re.DOTALL)
_SD_ESCAPE = re.compile(rb"\\([\"\\\]])")
_BSD = re.compile(rb"<(0|[1-9][0-9]{0,2})>", re.DOTALL)
_BOM = b"\xef\xbb\xbf"
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6})\d*)?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)


class SyslogError(ValueError):
    """The bytes are not a syslog message of the expected form."""


class StructuredData(StrEnum):
    """Whether a message carries the STRUCTURED-DATA field."""

    PRESENT = "present"
    """RFC 5424 to the letter: ``-`` or elements."""
    ABSENT = "absent"
    """logplex-1: the message follows MSGID."""
    AUTO = "auto"
    """Whatever is there."""


class SyslogMessage(NamedTuple):
    """One message. Fields are the sender's bytes; ``-`` stays ``-``."""

    pri: int
    timestamp: bytes
    hostname: bytes
    app_name: bytes
    procid: bytes
    msgid: bytes
    structured_data: bytes | None
    """The raw field, ``-`` for none, None when the sender has left it out."""
    msg: bytes

    @property
    def facility(self) -> int:
        """The facility, 0 to 23."""
        return self.pri >> 3

    @property
    def severity(self) -> int:
        """The severity, 0 (emergency) to 7 (debug)."""
        return self.pri & 7

    def timestamp_us(self) -> int | None:
        """The timestamp in Unix microseconds, None for ``-``.

        Raises:
            SyslogError: it is no RFC 3339 time.
        """
        return parse_timestamp(self.timestamp)

    def elements(self) -> dict[str, dict[str, str]]:
        """The structured data by SD-ID; of a repeated name the last one counts."""
        return parse_structured_data(self.structured_data or _NIL)


def parse(frame: bytes, structured_data: StructuredData = StructuredData.AUTO) -> SyslogMessage:
    """Read one RFC 5424 message.

    Raises:
        SyslogError: the header does not parse, PRI is over 191, or the structured data is malformed.
    """
    header = _HEADER.match(frame)
    if header is None:
        raise SyslogError("not an RFC 5424 header: <PRI>1 TIMESTAMP HOST APP PROCID MSGID")
    pri_text, version, timestamp, hostname, app_name, procid, msgid = header.groups()
    pri = int(pri_text)
    if pri > MAX_PRI:
        raise SyslogError(f"PRI {pri} is over {MAX_PRI}")
    if version != b"1":
        raise SyslogError(f"version {version.decode()} is not 1")
    rest = frame[header.end() :]
    raw: bytes | None = None
    if structured_data is not StructuredData.ABSENT:
        raw, rest = _cut_structured_data(rest, required=structured_data is StructuredData.PRESENT)
    return SyslogMessage(pri, timestamp, hostname, app_name, procid, msgid, raw, rest)


def parse_without_structured_data(frame: bytes) -> SyslogMessage:
    """Read one message that has no structured-data field: the same as ``parse`` with ``ABSENT``, but fast.

    Raises:
        SyslogError: as ``parse``.
    """
    parts = frame.split(b" ", 6)
    pri = _HEADS.get(parts[0])
    if pri is not None and len(parts) == len(_LIMITS) + 2:
        _, timestamp, hostname, app_name, procid, msgid, msg = parts
        if (
            0 < len(timestamp) <= _LIMITS[0]
            and 0 < len(hostname) <= _LIMITS[1]
            and 0 < len(app_name) <= _LIMITS[2]
            and 0 < len(procid) <= _LIMITS[3]
            and 0 < len(msgid) <= _LIMITS[4]
        ):
            return SyslogMessage(pri, timestamp, hostname, app_name, procid, msgid, None, msg)
    return parse(frame, StructuredData.ABSENT)


def _cut_structured_data(rest: bytes, *, required: bool) -> tuple[bytes | None, bytes]:
    if rest == _NIL or rest.startswith(b"- "):
        return _NIL, _without_bom(rest[2:])
    found = _SD.match(rest)
    if found is not None:
        return found[0], _without_bom(rest[found.end() + 1 :])
    if required:
        raise SyslogError("the structured data is neither - nor a list of elements")
    return None, rest


def _without_bom(msg: bytes) -> bytes:
    """RFC 5424 marks UTF-8 text with a byte order mark, which is no part of the text."""
    return msg.removeprefix(_BOM)


def parse_structured_data(raw: bytes) -> dict[str, dict[str, str]]:
    """Return the elements of a STRUCTURED-DATA field.

    Raises:
        SyslogError: it is neither ``-`` nor a list of elements.
    """
    if raw == _NIL:
        return {}
    if _SD.fullmatch(raw) is None:
        raise SyslogError("the structured data is neither - nor a list of elements")
    elements: dict[str, dict[str, str]] = {}
    for name, params in _SD_ELEMENT.findall(raw):
        values = elements.setdefault(name.decode("ascii"), {})
        for key, quoted in _SD_PARAM.findall(params):
            text = _SD_ESCAPE.sub(rb"\1", quoted[1:-1])
            values[key.decode("ascii")] = text.decode("utf-8", "replace")
    return elements


def parse_bsd(frame: bytes) -> tuple[int, bytes]:
    """Read the ``<PRI>`` of an old-style (RFC 3164) message; return it and all that follows.

    What follows has no agreed form, so it is left alone; the NUL that Python's handler adds is cut.

    Raises:
        SyslogError: there is no PRI, or it is over 191.
    """
    found = _BSD.match(frame)
    if found is None or int(found[1]) > MAX_PRI:
        raise SyslogError(f"no <PRI> from 0 to {MAX_PRI}")
    return int(found[1]), frame[found.end() :].removesuffix(b"\x00")


def parse_timestamp(raw: bytes) -> int | None:
    """Return an RFC 3339 time in Unix microseconds, None for ``-``.

    Raises:
        SyslogError: it is no RFC 3339 time.
    """
    if raw == _NIL:
        return None
    found = _TIME.fullmatch(raw.decode("ascii", "replace"))
    if found is None:
        raise SyslogError("the timestamp is not RFC 3339")
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = found.groups()
    try:
        # A leap second is the one value that RFC 3339 has and Python has not.
        whole = datetime(
            int(year), int(month), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC
        )
    except ValueError as error:
        raise SyslogError(f"the timestamp is not a date: {error}") from None
    micros = int(whole.timestamp()) * _MICROS + int((fraction or "0").ljust(6, "0"))
    if sign:
        shift = (int(off_hours) * 60 + int(off_minutes)) * 60 * _MICROS
        micros += shift if sign == "-" else -shift
    return micros
