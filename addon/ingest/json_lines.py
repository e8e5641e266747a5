"""NDJSON at the door: which lines are one JSON object in UTF-8. Fast for clean bodies, else exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Object(msgspec.Struct):
    """Any object: its members are checked for grammar and skipped."""


_decoder = msgspec.json.Decoder(_Object)
_STRETCH = 1 << 20
"""Bytes searched at a time, so that what is found of them stays in the processor's cache."""
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no JSON object: its number (from 1), bytes and reason."""

    number: int
    body: bytes
    reason: str


def as_array(body: bytes) -> pa.StringArray:
    """Return the lines of a body that ends in a newline as one array over its bytes, newlines included."""
    data, parts = np.frombuffer(body, np.uint8), [np.zeros(1, np.int32)]
    for first in range(0, len(data), _STRETCH):
        ends = np.flatnonzero(data[first : first + _STRETCH] == ord("\n"))
        parts.append((ends + (first + 1)).astype(np.int32))
    offsets = np.concatenate(parts)
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(body))


def is_clean(body: bytes, lines: pa.StringArray) -> bool:
    """Tell whether every line is one JSON object in UTF-8.

    Never says so wrongly, except for blank and doubled lines that cancel out, which the typing then finds.
    """
    try:
        if len(_decoder.decode_lines(body)) != len(lines):
            return False
        lines.validate(full=True)
    except (*_FAULTS, pa.ArrowInvalid):
        return False
    return True


def line_fault(line: bytes) -> str | None:
    """Return why a line is no JSON object in UTF-8, None when it is one."""
    try:
        line.decode("utf-8")
        _decoder.decode(line)
    except UnicodeDecodeError:
        return "not_utf8"
    except RecursionError:
        return "nested_too_deep"
    except msgspec.ValidationError:
        return "not_a_json_object"
    except msgspec.DecodeError as error:
        return f"malformed_json: {str(error)[:120]}"
    return None


def check(body: bytes, record_bytes: int) -> tuple[pa.StringArray, list[BadLine]]:
    """Return a body's good lines and its bad ones. Blank lines are neither."""
    if body and not body.endswith(b"\n"):
        body += b"\n"
    lines = as_array(body)
    if is_clean(body, lines) and longest(lines) <= record_bytes:
        return lines, []
    good, bad = [], []
    for number, line in _numbered(body):
        fault = "record_too_long" if len(line) > record_bytes else line_fault(line)
        if fault is None:
            good.append(line)
        else:
            bad.append(BadLine(number, line, fault))
    return pa.array(good, pa.string()), bad


def longest(lines: pa.StringArray) -> int:
    """Return the bytes of the longest line."""
    if not len(lines):
        return 0
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return int(np.diff(offsets).max())


def _numbered(body: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            yield number, line
