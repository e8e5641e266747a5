"""How far a run has come, for whoever started it: a stage and a percentage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

#: Called with the stage (`staging`, `computing`, `writing`) and how many percent of the whole run are done.
Progress = Callable[[str, int], None]

STAGES = {"staging": (0, 30), "computing": (30, 90), "writing": (90, 100)}


def silent(_stage: str, _percent: int) -> None:
    """Tell nobody."""


def part(stage: str, done: int, of: int) -> tuple[str, int]:
    """The stage and percentage when `done` of the stage's `of` equal steps are behind."""
    low, high = STAGES[stage]
    return stage, low + (high - low) * done // max(of, 1)


def to_file(path: Path) -> Progress:
    """Keep the last word in a file, as JSON; a reader never sees half of it."""

    def tell(stage: str, percent: int) -> None:
        beside = path.with_name(f"{path.name}.new")
        beside.write_text(json.dumps({"stage": stage, "percent": percent}), encoding="utf-8")
        beside.replace(path)

    return tell
