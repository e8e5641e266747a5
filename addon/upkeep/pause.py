"""Holds the flush of a home still for a moment, whether its service runs or not."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from addon.ingest.segments import FLUSH_LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def paused(wal: Path) -> Iterator[None]:
    """Wait for the running flush to end, and let none begin while the block runs; appends go on."""
    wal.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = os.open(wal / FLUSH_LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
