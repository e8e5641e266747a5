"""The shop's output: event lines, log lines and metrics, each written to stdout in one piece at once.

An event line is ``@[shop.events] {json}``: a log drain that knows the convention stores it as a row of the
table ``events`` in the database ``shop``. Everything else is an ordinary log line.
"""

from __future__ import annotations

import json
import os
import threading
import time

TAG = "@[shop.events]"
_STDOUT = 1


class Clock:
    """Numbers events: microseconds of the wall clock, never the same one twice."""

    def __init__(self) -> None:
        """Start below any real time."""
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """Return the present time in microseconds, or one more than the last answer."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns() // 1000)
            return self._last


def event_line(seq: int, event: str, fields: dict[str, object]) -> str:
    """Return the line of one event; fields that are None or empty are left out.

    Args:
        seq: the event's number, unique and rising, in microseconds of the wall clock.
        event: what happened, for example ``purchase``.
        fields: the event's properties; ``time`` in Unix seconds.
    """
    record = {"event": event, "seq": seq} | {k: v for k, v in fields.items() if v not in (None, "")}
    return f"{TAG} {json.dumps(record, separators=(',', ':'))}"


def write_line(line: str) -> None:
    """Write one line to stdout with a single system call, so that threads' lines never mix."""
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(_STDOUT, data) :]


def logfmt(**fields: object) -> str:
    """Return ``key=value`` pairs, quoting values with spaces, quotes or equals signs."""
    return " ".join(f"{key}={_value(value)}" for key, value in fields.items())


def _value(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or set(text) & set(' "=') else text
