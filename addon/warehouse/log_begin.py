"""What a reader of a Delta log begins with: the last checkpoint, which may have come too late, or entry 0.

A node that writes a checkpoint may be overtaken by a drop of the table. What it writes then would make the
dropped table whole again for readers, or hide one that was made anew.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from addon.models.objects import ObjectStore

_LAST = "_last_checkpoint"


def last_checkpoint(objects: ObjectStore, log_prefix: str) -> int:
    """Return the version of the checkpoint that readers begin with, 0 without one."""
    try:
        return int(json.loads(objects.get(f"{log_prefix}/{_LAST}"))["version"])
    except (NotFound, ValueError, KeyError):
        return 0


def has_begin(objects: ObjectStore, log_prefix: str) -> bool:
    """Tell whether there is what a reader of the log begins with; a deletion takes that away first.

    A hint at a checkpoint is none: it may have been written when the checkpoint was deleted already.
    """
    names = [info.key.rpartition("/")[2] for info in objects.list(log_prefix)]
    return any(".checkpoint." in name or name == f"{0:020d}.json" for name in names)


def take_back(objects: ObjectStore, log_prefix: str, version: int) -> None:
    """Delete a checkpoint, and first what points readers to it."""
    if last_checkpoint(objects, log_prefix) == version:
        objects.delete([f"{log_prefix}/{_LAST}"])
    start = f"{log_prefix}/{version:020d}.checkpoint."
    objects.delete([info.key for info in objects.list(log_prefix) if info.key.startswith(start)])
