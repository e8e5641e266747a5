"""Collectors' bodies to JSON lines: records keep their own text, the server's columns are added to it."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from platform_core.base.errors import InvalidInput, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RECORDS = 500
MAX_RECORD_BYTES = 1_000 * 1024
PAST_S, FUTURE_S = 7 * 86_400, 3 * 86_400
"""How far ``td_record_time`` may lie from now; one beyond is kept as a column, but is not the row's time."""
_ENVELOPE_HINT = 'Send {"events": [{"column": "value"}]}.'
_FLAT_HINT = 'Send one JSON object of names and values, for example {"event": "install"}.'
_TO_SPACES = bytes.maketrans(b"\n\r", b"  ")
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\."
)
"""A pair of surrogates, a lone one, or another escape; in order, so that each starts at its backslash."""
_LONE = 6
_WHOLE = re.compile(r"-?\d{1,18}")

Object = dict[str, msgspec.Raw]


class _Envelope(msgspec.Struct):
    events: list[msgspec.Raw]


_envelopes = msgspec.json.Decoder(_Envelope)
_objects = msgspec.json.Decoder(Object)
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class ServerColumns:
    """What the server knows: JSON texts by column name.

    ``placeholders`` stand in for a value that is the column's own name, as the SDKs send it; ``tracked`` are
    added to records that the SDK's track functions made; ``added`` to every record. A value that the page set
    stays.
    """

    placeholders: Mapping[bytes, bytes] = field(default_factory=dict)
    tracked: Mapping[bytes, bytes] = field(default_factory=dict)
    added: Mapping[bytes, bytes] = field(default_factory=dict)


def event_lines(body: bytes, columns: ServerColumns) -> tuple[bytes, int]:
    """Return an envelope's records as JSON lines, and how many there are.

    Raises:
        InvalidInput: no envelope, no records or too many, or one is no object; the message says which.
        TooLarge: a record is over its limit.
    """
    try:
        body.decode()
        events = _envelopes.decode(_paired(body)).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"The body is not valid: {_told(error)}.", hint=_ENVELOPE_HINT) from error
    if not 0 < len(events) <= MAX_RECORDS:
        raise InvalidInput(
            f"The body has {len(events)} records; a call takes 1 to {MAX_RECORDS}.", hint=_ENVELOPE_HINT
        )
    lines = [_line(bytes(event), columns, number) for number, event in enumerate(events, start=1)]
    return b"\n".join(lines) + b"\n", len(lines)


def record_line(text: bytes, columns: ServerColumns) -> bytes:
    """Return one record as a JSON line; checks it as ``event_lines`` does."""
    try:
        text = _paired(text)
        _objects.decode(text)
        text.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"The record is not valid: {_told(error)}.", hint="Send a JSON object.") from error
    return _line(text.strip(), columns, 1) + b"\n"


def _paired(text: bytes) -> bytes:
    """Replace lone surrogates, which no UTF-8 can say: a page gets them by cutting a text within an emoji."""
    if b"\\ud" not in text and b"\\uD" not in text:
        return text

    def replaced(found: re.Match[bytes]) -> bytes:
        escape = found[0]
        return b"\\ufffd" if len(escape) == _LONE else escape

    return _ESCAPES.sub(replaced, text)


def _line(record: bytes, columns: ServerColumns, number: int) -> bytes:
    if record[:1] != b"{":
        raise InvalidInput(f"Record {number} is no object.", hint=_ENVELOPE_HINT)
    if len(record) > MAX_RECORD_BYTES:
        raise TooLarge(
            f"Record {number} has {len(record)} bytes; the limit is {MAX_RECORD_BYTES}.",
            hint="Leave out or shorten its longest value.",
        )
    # A raw line end in valid JSON is white space between tokens, for strings hold theirs escaped.
    record = record.translate(_TO_SPACES)
    for name, value in columns.placeholders.items():
        record = record.replace(b'"%b":"%b"' % (name, name), b'"%b":%b' % (name, value))
    wanted = dict(columns.added)
    if columns.tracked and b'"td_user_agent"' in record:
        wanted |= columns.tracked
    return _with(record, wanted) if wanted else record


def _with(record: bytes, wanted: Mapping[bytes, bytes]) -> bytes:
    """Add the members that a record does not have."""
    if any(b'"%b"' % name in record for name in wanted):  # as a key, or in a nested value
        keys = _objects.decode(record)
        wanted = {name: value for name, value in wanted.items() if name.decode() not in keys}
    members = b",".join(b'"%b":%b' % item for item in wanted.items())
    inner = record[1:-1].strip()
    return b"{%b}" % b",".join(part for part in (inner, members) if part)


def text_from_base64(data: str) -> bytes:
    """Return the JSON text of the old SDK's ``data``: base64, in either alphabet, of UTF-8.

    The SDK writes a character beyond the 16-bit ones as two surrogates of three bytes each, which is no
    UTF-8: they are put together again.

    Raises:
        InvalidInput: it is neither.
    """
    plain = data.replace("-", "+").replace("_", "/").replace(" ", "+").rstrip("=")
    try:
        text = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        whole = text.decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
        return whole.decode("utf-16-le", "replace").encode()
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(
            "The parameter data is not base64 of UTF-8 text.", hint="Send data=BASE64 of a JSON object."
        ) from error


def postback_line(body: bytes, now: float) -> bytes:
    """Return a flat object as a JSON line whose values are all strings; null is no value.

    ``td_record_time`` (Unix seconds) sets the row's time unless it is over 7 days old or 3 days ahead. A
    sender's own ``time`` does the same, and is kept as the column ``posted_time`` in any case.

    Raises:
        InvalidInput: it is no JSON object, or has no values.
    """
    try:
        body.decode()
        members = _objects.decode(_paired(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"The body is not valid: {_told(error)}.", hint=_FLAT_HINT) from error
    texts = {name: text for name, raw in members.items() if (text := _as_text(bytes(raw))) is not None}
    if not texts:
        raise InvalidInput("The object has no values.", hint=_FLAT_HINT)
    if "time" in texts:
        texts.setdefault("posted_time", texts["time"])
    moment = _moment(texts.get("td_record_time"), now) or _moment(texts.pop("time", None), now) or int(now)
    texts.pop("time", None)
    inner = b",".join(_encode(name) + b":" + text for name, text in texts.items())
    return b'{"time":%d,%b}\n' % (moment, inner)


def _as_text(raw: bytes) -> bytes | None:
    """Return a JSON value as a JSON string: a string is itself, another value its own text."""
    if raw == b"null":
        return None
    return raw if raw[:1] == b'"' else _encode(raw.translate(_TO_SPACES).decode())


def _moment(text: bytes | None, now: float) -> int | None:
    """Return a time in the window, None for another one or none."""
    inner = (text or b"").strip(b'"').decode()
    if not _WHOLE.fullmatch(inner):
        return None
    moment = int(inner)
    return moment if now - PAST_S <= moment <= now + FUTURE_S else None


def _told(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200].rstrip(".")
