"""Tables that change their names: what was accepted under the old name goes along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from addon.models.tables import TableRef

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Located:
    """A table as the catalog has it at a moment."""

    id: int
    """A number that no other table ever has, also when it gets another name."""
    ref: TableRef
    place: str
    """Where its files lie within its account's folder; no other table ever lies there."""


@dataclass(frozen=True, slots=True)
class TableMove:
    """A table got another name at ``at`` (Unix seconds); a swap is two moves of the same time."""

    old: TableRef
    new: TableRef
    at: float


def default_place(ref: TableRef) -> str:
    """Return where a table's files lie within its account's folder, unless the catalog says otherwise."""
    return f"{ref.database}/{ref.table}"


def follow(
    ref: TableRef, received_at: float, moves: Sequence[TableMove], exists: Callable[[TableRef], bool]
) -> TableRef:
    """Return the name that the table has now which had the name ``ref`` when a batch for it was received.

    ``moves`` are in the order of their times. A name that nobody bears now is followed to where its last
    bearer went, whenever that was: the batch was accepted in the moment of the move.
    """
    if not moves:
        return ref
    found = _followed(ref, [move for move in moves if move.at > received_at])
    if exists(found):
        return found
    left = [place for place, move in enumerate(moves) if move.old == found]
    return _followed(found, moves[left[-1] :]) if left else found


def _followed(ref: TableRef, moves: Sequence[TableMove]) -> TableRef:
    moved_at: float | None = None
    for move in moves:
        if move.old == ref and move.at != moved_at:  # the other half of the same swap is another table's
            ref, moved_at = move.new, move.at
    return ref
