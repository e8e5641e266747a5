"""Folders for the fault suites."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - thousands of small trees; a disk would be worn for nothing


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is such a thing: what a kill leaves is the same as on a disk."""
    where = _IN_MEMORY if _IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        yield Path(folder)
