"""Which version of each table an analysis reads: one for all its inputs, and for each repetition."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from addon.models.ingest import Warehouse
    from addon.models.tables import Snapshot, TableRef


@dataclass(frozen=True, slots=True)
class Pin:
    """A table's version. ``version`` is None while nothing was ever committed to the table."""

    version: int | None
    files: str | None = None
    """SHA-256 over the version's file names, which are never used twice: a table that was deleted and made
    again counts its versions from 0 anew. None where only the number was named."""

    @classmethod
    def of(cls, snapshot: Snapshot | None) -> Pin:
        """Return the pin that names ``snapshot``."""
        if snapshot is None:
            return cls(None, "")
        names = "\n".join(sorted(file.name for file in snapshot.files))
        return cls(snapshot.version, hashlib.sha256(names.encode()).hexdigest())


class Pins:
    """The versions of one run; a table that is not named is pinned at its newest when it is read first."""

    def __init__(self, named: Mapping[TableRef, Pin] | None = None) -> None:
        """Read the versions of ``named`` where it has the table."""
        self._named = dict(named or {})
        self._held: dict[TableRef, Snapshot | None] = {}

    def snapshot(self, warehouse: Warehouse, ref: TableRef) -> Snapshot | None:
        """Return the table as this run reads it; None while it was empty.

        Raises:
            NotFound: the named version is gone.
        """
        if ref not in self._held:
            named = self._named.get(ref)
            self._held[ref] = warehouse.snapshot(ref) if named is None else _again(warehouse, ref, named)
        return self._held[ref]

    def of(self, ref: TableRef) -> Pin:
        """Return the version of a table that was read."""
        return Pin.of(self._held[ref])


def _again(warehouse: Warehouse, ref: TableRef, pin: Pin) -> Snapshot | None:
    if pin.version is None:
        return None
    snapshot = warehouse.snapshot(ref, pin.version)
    if pin.files is not None and Pin.of(snapshot) != pin:
        raise NotFound(
            f"Version {pin.version} of {ref.database}.{ref.table} is gone: the table was deleted since.",
            hint="Run the analysis anew.",
        )
    return snapshot
