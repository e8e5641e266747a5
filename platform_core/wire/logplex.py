"""The logplex-1 body: octet-counted RFC 5424 messages without structured data, and the headers around it.

``docs/formats/logplex-1.md`` describes it with an example. Writers work on batches: every line of one write
shares its header, so a batch costs one header and one formatting operation per line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.wire.octets import MAX_FRAME, FramingLost, Split, split_octets
from platform_core.wire.syslog import SyslogMessage, parse_without_structured_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTENT_TYPE = "application/logplex-1"
CONTENT_TYPES = frozenset({CONTENT_TYPE, "application/x-logplex-1"})
"""What a receiver accepts; the second is the older name."""
HEADER_MSG_COUNT = "Logplex-Msg-Count"
HEADER_FRAME_ID = "Logplex-Frame-Id"
HEADER_DRAIN_TOKEN = "Logplex-Drain-Token"  # noqa: S105 - a header's name
HOST = b"host"
"""What Logplex writes as the hostname in bodies over HTTP."""
MAX_LINE = 10_000
"""Longer lines are split into parts of this many bytes."""


class LogplexError(ValueError):
    """The body or its headers are not logplex-1."""


@dataclass(frozen=True, slots=True)
class BodyHeaders:
    """What the sender says about a body."""

    msg_count: int | None
    frame_id: str | None
    """The same when a body is sent again."""
    drain_token: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """A decoded body: its messages, and where it stopped making sense."""

    frames: list[bytes]
    lost: FramingLost | None
    rest: bytes
    """What could not be read, from ``lost.offset`` on; empty for a good body."""


def line_header(pri: int, timestamp: str, source: str, process: str, host: bytes = HOST) -> bytes:
    """Return all of a message that stands before its text: ``<PRI>1 TS host SOURCE PS - ``."""
    return b"<%d>1 %b %b %b %b - " % (pri, timestamp.encode(), host, source.encode(), process.encode())


def encode_lines(header: bytes, lines: Sequence[bytes]) -> list[bytes]:
    """Return the lines as frames, ready to be joined to a body; ``header`` comes from :func:`line_header`."""
    base = len(header)
    return [b"%d %b%b" % (base + len(line), header, line) for line in lines]


def split_long_lines(lines: Sequence[bytes], limit: int = MAX_LINE) -> Sequence[bytes]:
    """Return the lines with each one over ``limit`` bytes cut into parts; no copy when none is."""
    if not lines or max(map(len, lines)) <= limit:
        return lines
    return [line[start : start + limit] for line in lines for start in range(0, max(len(line), 1), limit)]


def decode_body(body: bytes, *, max_frame: int = MAX_FRAME) -> Body:
    """Cut a body into its messages. Never raises: a body with a bad length keeps what stands before it."""
    split: Split = split_octets(body, max_frame=max_frame)
    lost = split.lost
    if lost is None and split.used < len(body):
        lost = FramingLost(split.used, "the body ends inside a message")
    return Body(split.frames, lost, body[split.used :])


def parse_frame(frame: bytes) -> SyslogMessage:
    """Read one message of a body, as Logplex writes it (no structured data).

    Raises:
        SyslogError: the header does not parse.
    """
    return parse_without_structured_data(frame)


def is_logplex(content_type: str | None) -> bool:
    """Tell whether a Content-Type header names logplex-1, whatever its parameters."""
    return (content_type or "").partition(";")[0].strip().lower() in CONTENT_TYPES


def encode_headers(msg_count: int, frame_id: str, drain_token: str) -> dict[str, str]:
    """Return the headers of a body."""
    return {
        "Content-Type": CONTENT_TYPE,
        HEADER_MSG_COUNT: str(msg_count),
        HEADER_FRAME_ID: frame_id,
        HEADER_DRAIN_TOKEN: drain_token,
    }


def parse_headers(headers: Mapping[str, str]) -> BodyHeaders:
    """Read a body's headers, whatever the case of their names.

    Raises:
        LogplexError: the message count is not a number from 0 up.
    """
    lowered = {name.lower(): value.strip() for name, value in headers.items()}
    count = lowered.get(HEADER_MSG_COUNT.lower())
    if count is not None and not (
        count.isascii() and count.isdigit() and len(count) <= len(str(MAX_FRAME)) + 2
    ):
        raise LogplexError(f"{HEADER_MSG_COUNT} is not a number")
    return BodyHeaders(
        msg_count=None if count is None else int(count),
        frame_id=lowered.get(HEADER_FRAME_ID.lower()) or None,
        drain_token=lowered.get(HEADER_DRAIN_TOKEN.lower()) or None,
    )
