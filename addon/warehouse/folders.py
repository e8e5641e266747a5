"""Folders and files of the warehouse: durable, and readable by the sandboxed query workers.

The folder above the warehouse keeps other users out. Below it everything can be read by the uid of a worker,
which sees its own account's folder only, whatever umask the process was started with.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER_MODE, _FILE_MODE = 0o755, 0o644


def sync_folder(folder: Path) -> None:
    """Return when creations, renames and deletions in ``folder`` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Return when the file's data is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it where missing, each durably and open for reading."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(_FOLDER_MODE)
    sync_folder(folder.parent)


def open_for_reading(path: Path) -> None:
    """Let the workers read a file."""
    path.chmod(_FILE_MODE)
