"""What the ingest counts since its start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from addon.ingest.flusher import Flushed


@dataclass(slots=True)
class IngestStats:
    """Counters since the start; the metrics page reads them."""

    batches: int = 0
    duplicates: int = 0
    bytes: int = 0
    rows: int = 0
    dead_letters: int = 0
    discarded_tables: int = 0
    corrupt_ranges: int = 0
    flushes: int = 0
    flush_failures: int = 0
    recovered_batches: int = 0
    quarantined: int = 0
    misfits: int = 0
    """Stored values that did not fit their column."""
    flushed_batches: int = 0
    """Of ``batches`` and ``recovered_batches``: what waits no more."""
    dead_letters_by_reason: Counter[str] = field(default_factory=Counter)
    """The same as ``dead_letters``, by kind of reason."""

    def count(self, done: Flushed) -> None:
        """Add what a segment became."""
        self.flushes += 1
        self.flushed_batches += len(done.records)
        self.rows += done.rows
        self.dead_letters += sum(done.dead_letters.values())
        self.dead_letters_by_reason.update(done.dead_letters)
        self.discarded_tables += done.discarded
        self.corrupt_ranges += done.corrupt_ranges
        self.quarantined += done.quarantined
        self.misfits += done.misfits
