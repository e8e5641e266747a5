"""``FOR VERSION AS OF`` and ``FOR TIMESTAMP AS OF``: a table as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlglot import exp

from addon.query.times import parse_time
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from addon.models.ingest import Warehouse
    from addon.models.tables import Snapshot, TableRef

_VERSION_DIGITS = 18


class AsOf(NamedTuple):
    """Which version of a table is read: the one of the number, or the newest of a moment (Unix seconds)."""

    version: int | None
    moment: int | None

    @property
    def suffix(self) -> str:
        """What the name of the version's view ends with."""
        return f"@version {self.version}" if self.version is not None else f"@moment {self.moment}"

    def snapshot(self, warehouse: Warehouse, ref: TableRef) -> Snapshot | None:
        """Return the version.

        Raises:
            NotFound: there is none, or not any more.
        """
        version = self.version
        if version is None and self.moment is not None:
            version = warehouse.version_at(ref, self.moment)
        return warehouse.snapshot(ref, version)


def take_as_of(table: exp.Table) -> AsOf | None:
    """Take the clause off a table; None where it has none.

    Raises:
        InvalidInput: it is not of a form that is known.
    """
    clause = table.args.get("version")
    if clause is None:
        return None
    table.set("version", None)
    value = clause.expression
    kind = str(clause.args.get("kind") or "").upper()
    if kind == "AS OF" and clause.name.upper() == "VERSION":
        if isinstance(value, exp.Literal) and not value.is_string and _is_version(value.this):
            return AsOf(int(value.this), None)
    elif kind == "AS OF":
        inner = value.this if isinstance(value, exp.Cast) else value
        if isinstance(inner, exp.Literal) and inner.is_string:
            moment = parse_time(str(inner.this))
            if moment is not None:
                return AsOf(None, moment)
    raise InvalidInput(
        "This form of time travel is not supported.",
        hint="Write FOR VERSION AS OF 12, or FOR TIMESTAMP AS OF TIMESTAMP '2026-01-31 12:00:00 UTC'.",
    )


def _is_version(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _VERSION_DIGITS
