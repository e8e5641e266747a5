"""Hostile lines for the scan kernel, in memory of just their size: ``python -m tests.scan_hostile LIBRARY``.

Run as a program, it drives a kernel that was compiled with sanitizers; nothing but malloc is behind any byte.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from addon.warehouse.scan import lines as scan_module
from addon.warehouse.scan.library import Kernel
from addon.warehouse.scan.lines import Scanned, scan_lines
from addon.warehouse.scan.log_frames import find_frames
from platform_core.wire import logplex
from tests.typing_oracle import DECEIVING, SCHEMA, TEXTS, check_scanned, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from addon.warehouse.schema import TableSchema

RECEIPT = 77
LINES_PER_BATCH = 400
_WIDE_ROW = [("i", "12"), ("d", "1.25"), ("b", "true"), ("s", '"text"'), ("j", '{"a":[1,"b",null]}')]
PLAIN = [
    line_of(members).encode()
    for members in (
        [],
        _WIDE_ROW,
        _WIDE_ROW[::-1],
        [*_WIDE_ROW, ("time", "1700000000")],
        [("i", "-9223372036854775808"), ("d", "0.1000000000000000055")],
        [("i", "null"), ("d", "null"), ("b", "null"), ("s", "null"), ("j", "null")],
        [("d", "1e-300"), ("b", "false"), ("s", '"\\u00e9\\ud83d\\ude00\\n"'), ("j", "true")],
        [("s", "12.5"), ("j", '["\\u0001\\/\\"", -0, 0.0]')],
        [("s", '[{"x":"y"}]'), ("j", '"\\\\"'), ("d", "123456789.123456789")],
        [("s", '"\u65e5\u672c\u8a9e and a text of more than sixteen bytes"'), ("d", "-0.0")],
    )
]
_BYTES = [
    b'"',
    b"\\",
    b"\\u",
    b"\\ud83d",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\n",
    b"\0",
    b"\xff",
    b"\xe6\x97",
]
_BYTES += [b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"9" * 20, b"-", b".", b"e", b"null", b"time"]


def scanned(kernel: Kernel, lines: Sequence[bytes], schema: TableSchema) -> Scanned:
    """Scan lines that lie in memory of exactly their size, hold the outcome against the oracle, return it."""
    data = np.frombuffer(b"".join(lines), np.uint8).copy()
    offsets = np.cumsum([0, *map(len, lines)]).astype(np.int32)
    array = pa.StringArray.from_buffers(len(lines), pa.py_buffer(offsets), pa.py_buffer(data))
    found = scan_lines(kernel, array, pa.array([RECEIPT] * len(lines), pa.int64()), schema.columns)
    check_scanned(lines, found, schema, RECEIPT)
    return found


def _mutated(line: bytes, rng: random.Random) -> bytes:
    """Return a line with bytes changed, cut out, doubled or put in; or cut short anywhere."""
    out = bytearray(line)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(5)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at : at + rng.randrange(1, 6)]
        elif kind == 2:
            out[at:at] = out[at : at + rng.randrange(1, 30)]
        elif kind == 3:
            out[at:at] = rng.choice(_BYTES)
        else:
            del out[at:]
    return bytes(out)


def _line(rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return rng.choice(PLAIN)
    keys = rng.sample([*SCHEMA.keys(), "new", ""], rng.randrange(5))
    return line_of([(key, rng.choice(TEXTS + DECEIVING)) for key in keys]).encode()


def mutations(seed: int, batches: int) -> Iterator[list[bytes]]:
    """Yield batches of lines, most of them a little broken; the last one ends where the memory ends."""
    rng = random.Random(seed)  # noqa: S311 - reproducible
    for _ in range(batches):
        yield [_mutated(_line(rng), rng) for _ in range(LINES_PER_BATCH)]


_HEAD = b"<190>1 2026-11-25T13:00:00.123456+00:00 host app web.1 - "
_MESSAGES = [
    _HEAD + b"text\n",
    _HEAD,
    _HEAD + b"two\nlines",
    b"<0>1 - - - - - ",
    b"<191>1 - h a p m x",
    b"odd",
    _HEAD[:-1],
]
_MESSAGES += [
    b"<13>1 - h " + b"a" * 49 + b" p m ",
    b"<13>1  h a p m x ",
    b"<13>1 " + b"s" * 64 + b" h a p m \n",
]


def framed(kernel: Kernel, bodies: Sequence[bytes]) -> int:
    """Find the messages of log bodies, hold them against ``wire``; return how many were found."""
    joined = b"".join(bodies)
    found = find_frames(kernel, joined, [len(body) for body in bodies])
    splits = [logplex.decode_body(body) for body in bodies]
    if found is None:
        assert any(split.lost is not None for split in splits), bodies
        return 0
    assert all(split.lost is None for split in splits), bodies
    frames = [(owner, data) for owner, split in enumerate(splits) for data in split.frames]
    assert found.total == len(frames)
    parts = (found.frame, found.owner, found.pri, found.bounds)
    for index, owner, pri, bounds in zip(*(part.tolist() for part in parts), strict=True):
        said = logplex.parse_frame(frames[index][1])
        cuts = [joined[first:last] for first, last in zip(bounds[::2], bounds[1::2], strict=True)]
        assert (owner, pri) == (frames[index][0], said.pri)
        assert cuts == [said.timestamp, said.app_name, said.procid, said.msg.removesuffix(b"\n")]
    for first, last, owner, index in found.odd.tolist():
        assert (owner, joined[first:last]) == frames[index]
    assert len(found.frame) + len(found.odd) == found.total
    return found.total


def log_bodies(seed: int, batches: int) -> Iterator[list[bytes]]:
    """Yield log bodies, some of them broken: in a message before it was framed, or after it."""
    rng = random.Random(seed)  # noqa: S311 - reproducible
    for _ in range(batches):
        bodies = []
        for _ in range(rng.randrange(1, 4)):
            messages = [_mutated(rng.choice(_MESSAGES), rng) for _ in range(rng.randrange(6))]
            body = b"".join(b"%d %b" % (len(message), message) for message in messages if message)
            bodies.append(body if rng.random() < 0.8 else _mutated(body, rng))
        yield bodies


def _beyond(kernel: Kernel) -> None:
    """Say that there is a byte more than there is: the sanitizer must see that it is read."""
    data = np.frombuffer(b'{"s":"' + b"x" * 4_000, np.uint8).copy()
    offsets = np.array([0, len(data) + 1], np.int32)
    array = pa.StringArray.from_buffers(
        1, pa.py_buffer(offsets), pa.foreign_buffer(data.ctypes.data, len(data) + 1)
    )
    scan_lines(kernel, array, pa.array([RECEIPT], pa.int64()), SCHEMA.columns)


def main(argv: Sequence[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.scan_hostile", description=__doc__)
    parser.add_argument("library", type=Path)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument(
        "--beyond", action="store_true", help="read beyond the memory, to see that it is noticed"
    )
    options = parser.parse_args(argv)
    kernel, seed = Kernel(options.library), random.randrange(1 << 30)  # noqa: S311 - printed
    print(f"seed {seed}", flush=True)  # noqa: T201 - to repeat it
    if options.beyond:
        _beyond(kernel)
        return 0
    scan_module._SAMPLE_LINES = 3  # so that texts grow on the way
    taken = sum(len(scanned(kernel, lines, SCHEMA).rows) for lines in mutations(seed, options.batches))
    found = sum(framed(kernel, bodies) for bodies in log_bodies(seed, 40 * options.batches))
    assert found > options.batches
    print(f"{taken} of {options.batches * LINES_PER_BATCH} taken")  # noqa: T201 - a program
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
