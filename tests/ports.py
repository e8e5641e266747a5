"""Ports for the servers that tests start."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_LOWEST, _HIGHEST = 20_000, 32_000
"""Below what outgoing connections get: one of those could take a port between two lives of a server."""
_STEP = 10
_RANDOM = random.SystemRandom()
"""Not the shared generator: pytest-randomly seeds that alike in every worker, and all would draw the same."""


def free_base() -> int:
    """Return a port base whose ten ports are free now, and that no other test run on this machine gets.

    A server that is killed and started again must find its ports free, though nobody listens between.
    """
    while True:
        base = _RANDOM.randrange(_LOWEST, _HIGHEST, _STEP)
        if _is_ours(base) and all(_is_free(port) for port in range(base, base + _STEP)):
            return base


def _is_ours(base: int) -> bool:
    """Take the base's lock, which this process then keeps to its end."""
    folder = Path(tempfile.gettempdir()) / f"sluice-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / str(base), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
