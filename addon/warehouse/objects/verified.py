"""Which local files hold what was written to them: each is read through once before its rows are used.

DuckDB does not look at Parquet's page checksums: a flipped bit reads as other rows (four of five flips do, of
data that compresses badly). A data file's name ends in the first digits of its SHA-256, so its bytes are
compared with that, once for each file and process; what was compared is in the page cache by then.
"""

from __future__ import annotations

import hashlib
import re
import threading
from typing import TYPE_CHECKING

from addon.models.objects import DamagedObject
from platform_core.base.errors import NotFound
from platform_core.base.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE_CHANGED = "table_file_changed"
_DIGEST = re.compile(r"-([0-9a-f]{16})\.parquet$")
_MOST = 500_000
"""Files that are remembered; beyond that all are forgotten and compared again when next used."""

_Stamp = tuple[int, int, int]
"""Inode, size, time of the last change in nanoseconds."""

log = get_logger(__name__)


class VerifiedFiles:
    """Remembers which files were found good; thread-safe."""

    def __init__(self) -> None:
        """Start with none."""
        self._guard = threading.Lock()
        self._good: dict[str, _Stamp] = {}

    def check(self, paths: Iterable[Path]) -> None:
        """Compare the files that were not compared before with their names.

        Raises:
            NotFound: a file is gone.
            DamagedObject: its bytes have changed; the text names it.
        """
        for path in paths:
            try:
                self._check(path)
            except FileNotFoundError as error:
                raise NotFound(f"The table file {path.name} is gone.") from error

    def trust(self, path: Path) -> None:
        """Take a file as compared that was just written, and read back for its name."""
        self._remember(path, _stamp(path))

    def _check(self, path: Path) -> None:
        stamp = _stamp(path)
        with self._guard:
            if self._good.get(str(path)) == stamp:
                return
        wanted = _DIGEST.search(path.name)
        if wanted is not None:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not digest.startswith(wanted[1]):
                log.error(FILE_CHANGED, file=path.name, sha256=digest)
                raise DamagedObject(path.name)
        self._remember(path, stamp)

    def _remember(self, path: Path, stamp: _Stamp) -> None:
        with self._guard:
            if len(self._good) >= _MOST:
                self._good.clear()
            self._good[str(path)] = stamp


def _stamp(path: Path) -> _Stamp:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
