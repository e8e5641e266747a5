"""Gives a folder to a sandbox's uid, so that a writable bind of it can be written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def own(path: Path, uid: int) -> None:
    """Make ``uid`` the owner and group of ``path`` and all below it; links are not followed.

    Without root nothing changes: the sandbox runs under our own uid then. Host folders above ``path``
    need not be open to ``uid``.
    """
    if os.geteuid() != 0:
        return
    os.chown(path, uid, uid, follow_symlinks=False)
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), uid, uid, follow_symlinks=False)  # noqa: PTH118  # hot path
