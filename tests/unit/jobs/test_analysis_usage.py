"""Usage against a plain Python computation over meters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError

DAY = 86_400
tables = st.sampled_from(["t", "u"])
moments = st.integers(0, 6 * DAY - 1)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(moments, tables, st.integers(0, 9)), max_size=8),
    st.dictionaries(st.tuples(tables, moments), st.integers(0, 99), max_size=6),
    st.dictionaries(
        st.sampled_from("pq"), st.tuples(moments, st.sets(tables, min_size=1), st.integers(0, 8)), max_size=2
    ),
)
def test_every_day_equals_a_plain_computation(run: Any, came: Any, sizes: Any, asked: Any) -> None:
    inputs = {
        "ingested": [
            {"time": time, "database": "d", "table": table, "rows_in": rows, "bytes_in": rows * 10}
            for time, table, rows in came
        ],
        "stored": [
            {"time": time, "database": "d", "table": table, "bytes_stored": size}
            for (table, time), size in sizes.items()
        ],
        "queried": [
            {
                "query_id": q,
                "time": time,
                "database": "d",
                "table": table,
                "bytes_scanned": place * size,
                "cpu_s": 2.0,
            }
            for q, (time, read, size) in asked.items()
            for place, table in enumerate(sorted(read))
        ],
    }
    inputs = {meter: rows for meter, rows in inputs.items() if rows}
    if not inputs:
        return
    found = {
        (row["day"] // DAY, row["table"]): row
        for row in run("usage", inputs, {"from": 0, "through": 6 * DAY - 1}).tables["usage"].to_pylist()
    }
    for day in range(6):
        for table in ("t", "u"):
            rows = sum(r for time, name, r in came if (time // DAY, name) == (day, table))
            known = [
                (time, size) for (name, time), size in sizes.items() if name == table and time // DAY <= day
            ]
            read = [q for q, (time, names, _) in asked.items() if time // DAY == day and table in names]
            here = known or read or any((time // DAY, name) == (day, table) for time, name, _ in came)
            assert ((day, table) in found) == bool(here)
            if here:
                row = found[day, table]
                assert (row["rows_in"], row["bytes_in"], row["queries"]) == (rows, rows * 10, len(read))
                assert row["bytes_stored"] == (max(known)[1] if known else None)
    assert sum(row["cpu_s"] for row in found.values()) == pytest.approx(2.0 * len(asked))


def test_processor_time_goes_to_tables_by_the_bytes_read(run: Any) -> None:
    rows = [
        {"query_id": "q", "time": 5, "database": "d", "table": name, "bytes_scanned": size, "cpu_s": 8.0}
        for name, size in (("t", 300), ("u", 100))
    ]
    rows.append(
        {"query_id": "z", "time": 5, "database": None, "table": None, "bytes_scanned": None, "cpu_s": 0.5}
    )
    table = run("usage", {"queried": rows}).tables["usage"].to_pylist()
    assert [(row["table"], row["cpu_s"]) for row in table] == [("(none)", 0.5), ("t", 6.0), ("u", 2.0)]


def test_a_meter_that_runs_backwards_is_refused(run: Any) -> None:
    with pytest.raises(InputError, match="stored: 1 rows hold a negative number"):
        run("usage", {"stored": [{"time": 5, "database": "d", "table": "t", "bytes_stored": -1}]})


def test_impossible_requests_are_refused(run: Any) -> None:
    row = {"time": 5, "database": "d", "table": "t", "bytes_stored": 1}
    with pytest.raises(ParameterError, match=r"parameters from and through: .* holds no day"):
        run("usage", {"stored": [row]}, {"from": "2024-01-02", "through": "2024-01-01"})
    with pytest.raises(InputError, match="give at least one of them"):
        run("usage", {})
