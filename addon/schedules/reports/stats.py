"""What this process did for reports since its start: runs by how they ended, deliveries by type."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

LATE_S = 900.0
"""A report that is there later than this after its job was made is late."""


@dataclass(slots=True)
class ReportStats:
    """Counts since the process' start."""

    runs: Counter[str] = field(default_factory=Counter)
    """By outcome: ``on_time`` and ``late`` when they were rendered, ``failed`` also when they were killed."""
    incomplete: int = 0
    """Of the rendered ones, those whose numbers may still change."""
    attempted: Counter[str] = field(default_factory=Counter)
    """Attempts of deliveries by type; so are the next three."""
    delivered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    """Attempts that failed, the last ones too."""
    dead: Counter[str] = field(default_factory=Counter)
    """Deliveries that were given up: the receiver refused, or no attempt is left."""

    def rendered(self, seconds: float, *, complete: bool) -> None:
        """Count a run that was rendered ``seconds`` after its job was made."""
        self.runs["late" if seconds > LATE_S else "on_time"] += 1
        self.incomplete += not complete
