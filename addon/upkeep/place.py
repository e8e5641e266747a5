"""Where an installation's data is: what every operator's command works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.objects import ObjectStore
    from addon.store.database import Database


@dataclass(frozen=True, slots=True)
class Place:
    """An opened home folder."""

    home: Path
    """The installation's folder, the platform's files included."""
    folder: Path
    """The add-on's own folder in it."""
    database: Database
    objects: ObjectStore

    @property
    def wal(self) -> Path:
        """The write-ahead log's folder."""
        return self.folder / "wal"
