"""What the library and its spawner say to each other: JSON objects as SOCK_SEQPACKET messages.

===============  ==========================================  =================================
request          fields                                      answer
===============  ==========================================  =================================
``spawn``        ``spec``, ``std`` (which of 0-2 are given)  ``pid``, ``cgroup``
``signal``       ``pid``, ``number``                         none
``kill``         ``pid``                                     none
``sockets``      ``pid``, ``count``                          unconnected TCP sockets
``listen``       ``pid``, ``port``                           one listening socket
===============  ==========================================  =================================

Descriptors travel beside a message. Each request carries ``id``; its answer repeats it, with ``error``
when it failed. An ``exit`` event
(``pid``, ``code``, ``oom``) comes by itself.
"""

from __future__ import annotations

import array
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform_core.base.sandbox.spec import Bind, Network, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MESSAGE = 192 << 10
"""Bytes of one message; a Unix socket's default send buffer takes it at once."""
MAX_DESCRIPTORS = 64

Message = dict[str, Any]


def pack(message: Message) -> bytes:
    """Return ``message`` as it travels."""
    return json.dumps(message, separators=(",", ":")).encode()


def receive(connection: socket.socket) -> tuple[Message, list[int]] | None:
    """Read one message and its descriptors (close-on-exec); None at the peer's end.

    Raises:
        BlockingIOError: nothing is there yet, on a non-blocking socket.
    """
    # Not socket.recv_fds: in Python 3.11 it drops the flags, and these must not leak into children.
    space = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize)
    data, ancillary, _flags, _address = connection.recvmsg(MAX_MESSAGE, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    if not data:
        close_all(descriptors)
        return None
    return json.loads(data), list(descriptors)


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that came with a message."""
    for descriptor in descriptors:
        os.close(descriptor)


def spec_to_wire(spec: SandboxSpec) -> Message:
    """Return ``spec`` as plain JSON values."""
    return {
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "cwd": spec.cwd,
        "uid": spec.uid,
        "binds": [[str(bind.source), bind.target, bind.writable] for bind in spec.binds],
        "hostname": spec.hostname,
        "network": spec.network.value,
        "memory_bytes": spec.memory_bytes,
        "max_pids": spec.max_pids,
        "cpu_cores": spec.cpu_cores,
        "tmp_bytes": spec.tmp_bytes,
    }


def spec_from_wire(fields: Message) -> SandboxSpec:
    """Return the spec that ``spec_to_wire`` wrote."""
    binds = tuple(Bind(Path(source), target, writable) for source, target, writable in fields["binds"])
    return SandboxSpec(**(fields | {"binds": binds, "network": Network(fields["network"])}))
