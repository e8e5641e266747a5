"""The add-on with a disk whose sync does nothing: the twin that group commit is measured against.

Never for data that anybody wants to keep. Started as ``python -m tests.benchmarks.unsynced_addon serve …``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from addon.__main__ import main
from addon.ingest.disk import LocalDisk

if TYPE_CHECKING:
    from pathlib import Path


def _nothing(_disk: LocalDisk, _target: int | Path) -> None:
    """Promise what is not so."""


if __name__ == "__main__":
    LocalDisk.sync = LocalDisk.sync_folder = _nothing  # type: ignore[method-assign,assignment]
    sys.exit(main())
