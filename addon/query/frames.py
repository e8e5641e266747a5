"""The wire between the add-on and its SQL workers: 4 bytes of length, big-endian, then JSON.

A request may carry one descriptor, the file for its result, as ancillary data of the length's bytes.
"""

from __future__ import annotations

import array
import json
import socket
import struct
from typing import Any

LENGTH = struct.Struct(">I")
MAX_FRAME = 8 << 20


def encode(message: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return a message's length bytes and its body."""
    body = json.dumps(message).encode()
    return LENGTH.pack(len(body)), body


def body_length(header: bytes) -> int:
    """Return the length that a frame's first bytes announce.

    Raises:
        ValueError: it is over :data:`MAX_FRAME`.
    """
    (length,) = LENGTH.unpack(header)
    if length > MAX_FRAME:
        raise ValueError(f"a frame of {length} bytes")
    return int(length)


def receive(channel: socket.socket) -> tuple[dict[str, Any], int | None] | None:
    """Read one frame and its descriptor from a blocking socket; None at the end of the stream."""
    space = socket.CMSG_SPACE(array.array("i").itemsize)
    header, ancillary, _flags, _address = channel.recvmsg(LENGTH.size, space)
    descriptor: int | None = None
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            (descriptor,) = array.array("i", data)
    header += _exactly(channel, LENGTH.size - len(header)) if header else b""
    if len(header) < LENGTH.size:
        return None
    wanted = body_length(header)
    body = _exactly(channel, wanted)
    return (json.loads(body), descriptor) if len(body) == wanted else None


def _exactly(channel: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = channel.recv(count - len(parts))
        if not part:
            break
        parts += part
    return bytes(parts)
