"""Which files of a table to merge next: pure planning.

Every file has a generation: 0 as the flush wrote it, one more than its inputs after a merge. Only files of
one generation are merged with each other, ``FAN_IN`` at a time or a full file's worth; a full file is final.
So a row is rewritten once per generation, and there are about log(full / flushed size, FAN_IN) of them: the
write amplification is bounded by that.

Time is cut into windows of a day. A merge's rows become one file per window where a window has enough of them
(``cuts``); such a file is merged with others of its window only. What is left, the days of a table with few
rows or rows that came late for many windows, stays together, and is merged with its like. So a late row never
makes a file of today's rows reach back to last year, and no full file is rewritten for it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.warehouse.files import FileSet

WINDOW_S = 86_400
FULL_BYTES = 128 << 20
"""A merged file ends here; from half of it on it is final."""
_FINAL_BYTES = FULL_BYTES // 2
FAN_IN = 32
_ENDED_FAN_IN = 8
"""In a window to which hardly any rows come any more."""
_LATER, _LATER_FAN_IN = 3, 128
"""From this generation on, so that sparse rows which never fill a file are hardly ever rewritten."""
_MOST_FILES = 512
"""Of one merge; they are opened one after another."""
MOST_BYTES = 256 << 20
"""Of one merge, so that the next table's turn comes."""
_FULL_NEEDS = 4
_MERGED = re.compile(r"^merged-g(\d+)-(\d{1,20})-")
_OLD_MERGED = "merged-"
"""A merge of before the generations had names counts as the first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file as the plan sees it: times in Unix seconds, ``arrival`` a number that rises with the commits."""

    name: str
    size: int
    rows: int
    low: int
    high: int
    generation: int
    arrival: int

    @property
    def window(self) -> int | None:
        """The window that the file lies in; None when it reaches over several."""
        first = self.low // WINDOW_S
        return first if self.high // WINDOW_S == first else None


@dataclass(frozen=True, slots=True)
class Merge:
    """Files to merge, in the order of their arrival."""

    files: tuple[Candidate, ...]

    @property
    def generation(self) -> int:
        """The result's generation."""
        return self.files[0].generation + 1

    @property
    def arrival(self) -> int:
        """The result's place among files with rows of the same second."""
        return self.files[0].arrival

    @property
    def size(self) -> int:
        """How many bytes it reads."""
        return sum(file.size for file in self.files)

    @property
    def rows(self) -> int:
        """How many rows it reads."""
        return sum(file.rows for file in self.files)


def merged_name(merge: Merge, unique: str, generation: int | None = None) -> str:
    """Return what the name of a merge's result begins with; ``generation`` is the merge's by default."""
    return f"merged-g{merge.generation if generation is None else generation}-{merge.arrival:020d}-{unique}"


def generation_of(name: str, modified: int) -> tuple[int, int]:
    """Return a file's generation and arrival; a flushed file arrived when it was committed (milliseconds)."""
    match = _MERGED.match(name)
    if match is not None:
        return int(match[1]), int(match[2])
    return (1 if name.startswith(_OLD_MERGED) else 0), modified


def candidates(files: FileSet) -> list[Candidate]:
    """Return the files that are not final."""
    return described(files, [n for n, size in enumerate(files.sizes.tolist()) if size < _FINAL_BYTES])


def described(files: FileSet, positions: Sequence[int]) -> list[Candidate]:
    """Return the files at the given positions."""
    return [
        Candidate(
            name,
            int(files.sizes[position]),
            int(files.rows[position]),
            int(files.low[position]),
            int(files.high[position]),
            *generation_of(name, int(files.modified[position])),
        )
        for position, name in zip(
            positions, files.names.take(pa.array(positions, pa.int64())).to_pylist(), strict=True
        )
    ]


def next_merge(files: Sequence[Candidate]) -> Merge | None:
    """Return the merge that pays most now, None while there is none: the one with most files."""
    groups: dict[tuple[int, int | None], list[Candidate]] = defaultdict(list)
    for file in files:
        alone = file.window if file.size >= _own_bytes(file.generation + 1) else None
        groups[file.generation, alone].append(file)
    newest = max((file.high for file in files), default=0) // WINDOW_S
    best: Merge | None = None
    for (generation, window), group in groups.items():
        ended = window is not None and window < newest - 1
        chosen = _first_merge(sorted(group, key=_by_arrival), _fan_in(generation, ended=ended))
        if chosen is not None and (best is None or len(chosen.files) > len(best.files)):
            best = chosen
    return best


def _by_arrival(file: Candidate) -> tuple[int, str]:
    return file.arrival, file.name


def _fan_in(generation: int, *, ended: bool) -> int:
    if generation >= _LATER:
        return _LATER_FAN_IN
    return _ENDED_FAN_IN if ended else FAN_IN


def _first_merge(group: Sequence[Candidate], fan_in: int) -> Merge | None:
    """Return the merge of the group's oldest files, None while it would not pay."""
    chosen: list[Candidate] = []
    size = 0
    for file in group[:_MOST_FILES]:
        if chosen and size + file.size > MOST_BYTES:
            break
        chosen.append(file)
        size += file.size
    pays = len(chosen) >= fan_in or (len(chosen) >= _FULL_NEEDS and size >= FULL_BYTES)
    return Merge(tuple(chosen)) if pays else None


def _own_bytes(generation: int) -> int:
    """Return from how many bytes on a window gets a file of its own in a result of this generation."""
    return _OWN_BYTES[min(generation, len(_OWN_BYTES) - 1)]


_OWN_BYTES = (0, 256 << 10, 4 << 20, 32 << 20)


def cuts(windows: Sequence[tuple[int, int]], total_bytes: int, generation: int) -> list[int]:
    """Return the windows at which a merge's result begins a new file.

    ``windows`` are (window, rows), ascending. A window gets a file of its own when its share is big enough
    for one of this generation, or a quarter of everything; the others between two such ones stay together.
    """
    rows = sum(count for _, count in windows)
    least = min(_own_bytes(generation), total_bytes // 4 + 1)
    own = [total_bytes * count // rows >= least for _, count in windows]
    return [
        windows[index][0] for index, (before, here) in enumerate(pairwise(own), start=1) if before or here
    ]
