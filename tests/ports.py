"""Ports for the servers that tests start."""

from __future__ import annotations

import random
import socket

_LOWEST, _HIGHEST = 20_000, 32_000
"""Below what outgoing connections get: one of those could take a port between two lives of a server."""
_STEP = 10
_RANDOM = random.SystemRandom()
"""Not the shared generator: pytest-randomly seeds that alike in every worker, and all would draw the same."""


def free_base() -> int:
    """Return a port base whose ten ports are free now."""
    while True:
        base = _RANDOM.randrange(_LOWEST, _HIGHEST, _STEP)
        if all(_is_free(port) for port in range(base, base + _STEP)):
            return base


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
