"""A table's versions by time and by name: what time travel and pins are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform_core.base.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.models.tables import TableRef
    from addon.warehouse.files import TableState
    from addon.warehouse.store import DeltaWarehouse

MAX_PINS = 100
"""Of one table: each keeps files that would go otherwise."""
_NAME = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,63}$")


@dataclass(frozen=True, slots=True)
class PinInfo:
    """A pinned version; ``rows`` and ``bytes`` are what it holds."""

    name: str
    version: int
    rows: int
    bytes: int

    @classmethod
    def of(cls, name: str, state: TableState) -> PinInfo:
        """Describe a pin."""
        return cls(name, state.version, int(state.files.rows.sum()), int(state.files.sizes.sum()))


class Versions:
    """The versions of a warehouse's tables; thread-safe, blocking."""

    def __init__(self, warehouse: DeltaWarehouse) -> None:
        """Look into ``warehouse``."""
        self._warehouse = warehouse

    def at(self, ref: TableRef, seconds: float) -> int:
        """Return the version that was the newest at a moment (Unix seconds).

        Raises:
            NotFound: the table had none then, or its history does not reach so far.
        """
        with self._warehouse.locked(ref) as log:
            version = log.version_at(int(seconds * 1000))
        if version is None:
            raise NotFound(
                f"No version of {ref.database}.{ref.table} is known of that time.",
                hint="Name a later time; pin a version that shall stay.",
            )
        return version

    def pin(self, ref: TableRef, name: str, version: int | None) -> PinInfo:
        """Keep a version, the newest by default, under a name.

        Raises:
            InvalidInput: the name breaks the rule, or the table has too many pins.
            Conflict: the name is taken.
            NotFound: there is no such version (any more).
        """
        if not _NAME.match(name):
            raise InvalidInput(
                f"The pin name {name[:80]!r} is not valid.", hint="Use 1 to 64 of a-z, 0-9, _, . and -."
            )
        self._warehouse.snapshot(ref, version)  # also tells whether its files are there
        with self._warehouse.locked(ref) as log:
            if len(log.history.pins()) >= MAX_PINS:
                raise InvalidInput(
                    f"The table has {MAX_PINS} pins already.", hint="Delete one that is not needed."
                )
            state = log.pin(name, version)
        if state is None:
            raise Conflict(f"The table has a pin {name!r} already.", hint="Choose another name.")
        return PinInfo.of(name, state)

    def unpin(self, ref: TableRef, name: str) -> None:
        """Let a pinned version go.

        Raises:
            NotFound: the table has no such pin.
        """
        with self._warehouse.locked(ref) as log:
            log.history.unpin(name)

    def pins(self, ref: TableRef) -> Sequence[PinInfo]:
        """Return the table's pins in the order of their names."""
        with self._warehouse.locked(ref) as log:
            return [PinInfo.of(name, state) for name, state in sorted(log.history.pins().items())]
