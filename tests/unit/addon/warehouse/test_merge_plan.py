"""Which files are merged: not too often, late rows apart; and a table with few rows ends in few files."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from addon.warehouse.merge_plan import (
    FAN_IN,
    FULL_BYTES,
    MOST_BYTES,
    WINDOW_S,
    Candidate,
    Merge,
    cuts,
    generation_of,
    merged_name,
    next_merge,
)

MIB = 1 << 20


def flushed(number: int, size: int, low: int, high: int) -> Candidate:
    """A file as the flush writes it."""
    return Candidate(f"w-{number:020d}-{'0' * 16}.parquet", size, size // 40, low, high, 0, number)


class Simulated:
    """A table whose files are sizes and times; every merge that the plan asks for is done at once."""

    def __init__(self) -> None:
        self.files: dict[str, Candidate] = {}
        self.windows: dict[str, Counter[int]] = {}
        self.flushed = self.merged = self.serial = 0

    def flush(self, size: int, windows: Counter[int]) -> None:
        self.serial += 1
        low, high = min(windows) * WINDOW_S, max(windows) * WINDOW_S + WINDOW_S - 1
        file = flushed(self.serial, size, low, high)
        self.files[file.name], self.windows[file.name] = file, windows
        self.flushed += size
        while (
            plan := next_merge([one for one in self.files.values() if one.size < FULL_BYTES // 2])
        ) is not None:
            self.merge(plan)

    def merge(self, plan: Merge) -> None:
        rows: Counter[int] = Counter()
        for file in plan.files:
            rows.update(self.windows.pop(file.name))
            del self.files[file.name]
        begins = cuts(sorted(rows.items()), plan.size, plan.generation)
        per_row = plan.size / rows.total()
        pieces: list[Counter[int]] = [Counter()]
        for window, count in sorted(rows.items()):
            if (window in begins or pieces[-1].total() * per_row >= FULL_BYTES) and pieces[-1]:
                pieces.append(Counter())
            pieces[-1][window] = count
        for piece in pieces:
            self.serial += 1
            name = merged_name(plan, f"{self.serial:016x}") + f"-{'0' * 16}.parquet"
            size = max(1, int(piece.total() * per_row))
            low, high = min(piece) * WINDOW_S, max(piece) * WINDOW_S + WINDOW_S - 1
            generation, arrival = generation_of(name, 0)
            self.files[name] = Candidate(name, size, piece.total(), low, high, generation, arrival)
            self.windows[name] = piece
            self.merged += size

    @property
    def amplification(self) -> float:
        return self.merged / self.flushed


def test_a_steady_stream_is_rewritten_at_most_three_times_whatever_the_size_of_a_flush() -> None:
    for size, flushes in ((4_000, 40_000), (40_000, 30_000), (MIB, 3_000), (20 * MIB, 200)):
        table = Simulated()
        for number in range(flushes):
            table.flush(size, Counter({number * 10 // flushes: size // 40}))
        assert table.amplification <= 3, size
        assert len(table.files) < 250, size


def test_late_rows_neither_widen_todays_files_nor_rewrite_full_ones() -> None:
    table, chance = Simulated(), random.Random(1)  # noqa: S311  (not for secrets)
    for number in range(3_000):
        today = 1000 + number // 300
        windows = Counter({today: 26_000})
        for _ in range(3):
            windows[today - chance.randrange(1, 700)] += 1
        table.flush(MIB, windows)
    assert table.amplification <= 3
    wide = [file for file in table.files.values() if file.window is None]
    assert sum(file.size for file in wide) < table.flushed / 20
    assert len(table.files) < 250


def test_a_table_with_a_flush_a_day_does_not_keep_them_all() -> None:
    table = Simulated()
    for day in range(3_000):
        table.flush(20_000, Counter({day: 500}))
    assert len(table.files) < 100
    assert table.amplification <= 3


def test_rows_of_one_place_keep_the_order_of_their_arrival() -> None:
    files = [flushed(number, 1000, 5, 6) for number in range(40)]
    plan = next_merge(files[::-1])
    assert plan is not None
    assert [file.arrival for file in plan.files] == list(range(40))
    assert generation_of(merged_name(plan, "ab") + "-0123.parquet", 99) == (1, 0)


def test_nothing_is_merged_while_it_does_not_pay() -> None:
    assert next_merge([]) is None
    assert next_merge([flushed(number, 1000, 5, 6) for number in range(FAN_IN - 1)]) is None
    assert next_merge([flushed(number, FULL_BYTES // 3, 5, 6) for number in range(3)]) is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4), st.integers(1, 60 * MIB), st.integers(0, 5 * WINDOW_S), st.integers(0, 9999)
        ),
        max_size=120,
    )
)
def test_a_plan_is_of_one_generation_within_its_limits_and_makes_progress(
    drawn: list[tuple[int, int, int, int]],
) -> None:
    files = [
        Candidate(f"f{n}", size, 1, low, low + span, generation, n)
        for n, (generation, size, low, span) in enumerate(drawn)
    ]
    plan = next_merge(files)
    if plan is None:
        return
    assert len({file.generation for file in plan.files}) == 1
    assert len(plan.files) == len({file.name for file in plan.files}) >= 4
    assert plan.size <= MOST_BYTES
    assert list(plan.files) == sorted(plan.files, key=lambda file: file.arrival)


@given(
    st.dictionaries(st.integers(-5, 400), st.integers(1, 10**6), min_size=1),
    st.integers(1, 2**30),
    st.integers(1, 5),
)
def test_cuts_lie_between_windows_and_are_bounded(
    windows: dict[int, int], size: int, generation: int
) -> None:
    ordered = sorted(windows.items())
    found = cuts(ordered, size, generation)
    assert found == sorted(set(found))
    assert set(found) <= {window for window, _ in ordered[1:]}
    assert len(found) <= 2 * max(4, size // (256 << 10))
