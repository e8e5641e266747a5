"""Checkpoints that a power cut cannot halve: delta-rs writes them without a sync, and readers trust them.

A marker, durable before delta-rs begins, names the version whose checkpoint is being made. It goes when the
checkpoint is durable too. A marker that is found by somebody else, and whose maker is dead, means that the
checkpoint may be torn: it is deleted, which costs nothing, since the entries that it sums up are still there
(the log is cleaned only after the marker is gone). For a table in a local folder only; a put into an object
store is whole or not there.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from addon.warehouse.folders import sync_file, sync_folder
from platform_core.base import failpoints
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNFINISHED_CHECKPOINT = "delta_checkpoint_unfinished"
_MARKER = "_unfinished_checkpoint."
_LAST = "_last_checkpoint"

log = get_logger(__name__)


@contextmanager
def durable_checkpoint(log_folder: Path, version: int) -> Iterator[None]:
    """Make the checkpoint that the block writes for ``version`` durable; one that fails leaves none.

    Raises:
        OSError: the disk fails; what was written is not used.
    """
    marker = log_folder / f"{_MARKER}{version}"
    held = os.open(marker, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        sync_folder(log_folder)
        failpoints.hit("checkpoint.pre")
        yield
        failpoints.hit("checkpoint.unsynced")
        for path in (*log_folder.glob(f"{version:020d}.checkpoint*"), log_folder / _LAST):
            sync_file(path)
        sync_folder(log_folder)
        marker.unlink()
        sync_folder(log_folder)  # so that a later cut does not take back the proof
        failpoints.hit("checkpoint.post")
    finally:
        os.close(held)


def discard_unfinished(log_folder: Path) -> int:
    """Delete the checkpoints whose making was broken off; return how many there were."""
    markers = [path for path in log_folder.glob(f"{_MARKER}*") if path.suffix[1:].isdigit()]
    return sum(_discard(log_folder, marker) for marker in markers)


def _discard(log_folder: Path, marker: Path) -> bool:
    try:
        held = os.open(marker, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # its maker is alive
    else:
        version = int(marker.suffix[1:])
        for path in log_folder.glob(f"{version:020d}.checkpoint*"):
            path.unlink(missing_ok=True)
        if _named_by_hint(log_folder) in {None, version}:
            (log_folder / _LAST).unlink(missing_ok=True)  # a hint; readers list the folder without it
        sync_folder(log_folder)
        marker.unlink(missing_ok=True)
        log.warning(UNFINISHED_CHECKPOINT, table=log_folder.parent.name, version=version)
        return True
    finally:
        os.close(held)


def _named_by_hint(log_folder: Path) -> int | None:
    try:
        return int(json.loads((log_folder / _LAST).read_bytes())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
