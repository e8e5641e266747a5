"""Sockets inside a sandbox's network: made there by the spawner, used by anybody they are handed to.

A socket keeps the network namespace it was made in, so only making it needs the right to enter.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from platform_core.base.sandbox import kernel
from platform_core.base.sandbox.messages import pack, receive

if TYPE_CHECKING:
    from collections.abc import Callable

LOOPBACK = "127.0.0.1"
_BACKLOG = 128


def unconnected(namespace: int, count: int) -> list[socket.socket]:
    """Return ``count`` TCP sockets of the network namespace; connecting them is up to the caller."""
    return _made_inside(namespace, lambda: [_tcp() for _ in range(count)])


def listening(namespace: int, port: int) -> socket.socket:
    """Return a socket listening on 127.0.0.1:``port`` in the network namespace.

    Raises:
        OSError: the port is taken there.
    """
    return _made_inside(namespace, lambda: [listen_here(port)])[0]


def listen_here(port: int) -> socket.socket:
    """Return a socket listening on 127.0.0.1:``port`` in the namespace we are in."""
    made = _tcp()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((LOOPBACK, port))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _tcp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


def _made_inside(namespace: int, make: Callable[[], list[socket.socket]]) -> list[socket.socket]:
    if os.geteuid() == 0:
        with kernel.inside_network(namespace):
            return make()
    return _by_helper(namespace, make)


def _by_helper(namespace: int, make: Callable[[], list[socket.socket]]) -> list[socket.socket]:
    """Without root: a helper enters the user namespace that owns the network, where it has every right.

    It could not come back from there, hence the fork.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            pid = os.fork()
            if pid == 0:
                _help(namespace, make, theirs)
        received = receive(ours)
    os.waitpid(pid, 0)
    message, descriptors = received or ({"error": "the helper ended early"}, [])
    if "error" in message:
        raise OSError(f"the sandbox's network cannot be entered: {message['error']}")
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def _help(namespace: int, make: Callable[[], list[socket.socket]], channel: socket.socket) -> None:
    try:
        kernel.setns(kernel.owning_user_namespace(namespace), kernel.CLONE_NEWUSER)
        kernel.setns(namespace, kernel.CLONE_NEWNET)
        made = make()
        socket.send_fds(channel, [pack({})], [one.fileno() for one in made])
    except BaseException as error:  # noqa: BLE001  # nothing may return from here into the spawner's loop
        channel.send(pack({"error": str(error)}))
    os._exit(0)
