"""The log router's hot path: lines written to a channel until they are request bodies, and bodies cut again.

One core, CPU time, in groups of ten lines, as a busy dyno's pipe gives them. The peer of the way out is
Python's own ``SysLogHandler`` (its socket replaced by a list); the peer of the way in reads line by line with
the standard library, as small syslog receivers do.
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import platform
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from platform_core.logplex.buffer import CountingBuffer
from platform_core.logplex.channel import Channel
from platform_core.wire.logplex import decode_body, parse_frame
from tests.benchmarks.figures import Figure, interleaved, timed

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "log_router"
LINES: Final = 42_000
GROUP: Final = 10
BATCH_BYTES: Final = 102_400
ROUNDS: Final = 5
TIMESTAMP: Final = "2026-01-02T03:04:05.678901+00:00"
TEXT: Final = 'method=GET path="/products/17" visitor=8d3f0a21 status=200 took=31ms items=2'
PYTHON: Final = platform.python_version()


class Sink:
    """A drain up to its request body: the real buffer, the real batch size, no network."""

    def __init__(self) -> None:
        self._buffer = CountingBuffer(1 << 20, 1 << 30)
        self.bodies: list[bytes] = []

    def push(self, frames: Sequence[bytes]) -> None:
        self._buffer.push(frames)
        if self._buffer.bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        self.bodies.append(b"".join(self._buffer.take(BATCH_BYTES)))


def route() -> list[bytes]:
    """Write every line to a channel with one drain; return the drain's bodies."""
    channel, sink = Channel(1, 1_500), Sink()
    channel.sinks = (sink,)
    group = [TEXT.encode()] * GROUP
    for _ in range(LINES // GROUP):
        channel.append(190, TIMESTAMP, "app", "web.1", group)
    sink.flush()
    return sink.bodies


class _ListSocket:
    """Takes what the handler sends."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def sendto(self, message: bytes, _address: object) -> None:
        self.sent.append(message)

    def close(self) -> None:
        pass


class ListHandler(logging.handlers.SysLogHandler):
    """The standard handler without a kernel behind it."""

    def createSocket(self) -> None:  # noqa: N802 - the handler's own name
        self.socket: Any = _ListSocket()
        self.unixsocket = False
        self.socktype = socket.SOCK_DGRAM


def handle_per_line() -> list[bytes]:
    """Send every line through the standard library's handler; return the same bodies."""
    handler = ListHandler(("127.0.0.1", 514), facility="local7")
    handler.append_nul = False
    handler.setFormatter(logging.Formatter(f"1 {TIMESTAMP} host app web.1 - %(message)s"))
    logger = logging.getLogger("bench_log_router")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    for _ in range(LINES):
        logger.info(TEXT)
    sent: list[bytes] = handler.socket.sent
    logger.removeHandler(handler)
    handler.close()
    step = 700
    return [
        b"".join([b"%d %b" % (len(frame), frame) for frame in sent[start : start + step]])
        for start in range(0, len(sent), step)
    ]


def cut(bodies: Sequence[bytes]) -> int:
    """Cut bodies into frames; return how many."""
    return sum(len(decode_body(body).frames) for body in bodies)


def parse(bodies: Sequence[bytes]) -> int:
    """Cut bodies into frames and read all seven header fields; return how many."""
    return sum(len([parse_frame(frame) for frame in decode_body(body).frames]) for body in bodies)


def parse_per_line(stream: bytes) -> int:
    """Read the same messages, line by line; return how many."""
    count = 0
    for line in io.BytesIO(stream):
        head, _, rest = line.decode().rstrip("\n").partition(">")
        pri = int(head[1:])
        fields = rest.split(" ", 6)
        record = {
            "facility": pri >> 3, "severity": pri & 7, "time": fields[1], "host": fields[2],
            "app": fields[3], "process": fields[4], "message": fields[6],
        }  # fmt: skip
        count += bool(record)
    return count


def figures() -> list[Figure]:
    """Measure, interleaved; throughputs in lines per second of one core."""
    bodies = route()
    lines = b"".join(frame + b"\n" for body in bodies for frame in decode_body(body).frames)
    expected = {cut(bodies), parse(bodies), parse_per_line(lines), cut(handle_per_line())}
    if expected != {LINES}:
        raise AssertionError(f"the variants disagree on the number of lines: {expected}")
    seconds = interleaved(
        {
            "route": timed(route, time.process_time),
            "handler": timed(handle_per_line, time.process_time),
            "cut": timed(lambda: cut(bodies), time.process_time),
            "parse": timed(lambda: parse(bodies), time.process_time),
            "per_line": timed(lambda: parse_per_line(lines), time.process_time),
        },
        ROUNDS,
    )
    speed = {name: LINES / took for name, took in seconds.items()}
    handler, per_line = f"logging.SysLogHandler (Python {PYTHON})", f"line by line (Python {PYTHON})"
    return [
        Figure.measured(
            "log_router.channel_to_drain_body", speed["route"], "lines/s",
            bar=">= 300000 lines/s", peer=handler, peer_value=speed["handler"],
        ),
        Figure.measured(
            "log_router.channel_to_drain_body_ratio", speed["route"], "lines/s",
            bar=">= 5 x peer", peer=handler, peer_value=speed["handler"],
        ),
        Figure.measured(
            "log_router.cut_octet_frames", speed["cut"], "lines/s",
            bar=">= 2 x peer", peer=per_line, peer_value=speed["per_line"],
        ),
        Figure.measured(
            "log_router.parse_frames", speed["parse"], "lines/s",
            bar=">= 300000 lines/s", peer=per_line, peer_value=speed["per_line"],
        ),
    ]  # fmt: skip
