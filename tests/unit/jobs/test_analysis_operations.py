"""Operations against a plain Python computation over log rows."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import InputError, ParameterError

ROUTER_TYPES = {
    "app": "a",
    "path": "/",
    "status": 1,
    "code": "H",
    "service_ms": 1,
    "connect_ms": 1,
    "bytes": 1,
}

lines = st.lists(
    st.fixed_dictionaries(
        {
            "time": st.integers(0, 250),
            "app": st.sampled_from(["a", "b", None]),
            "path": st.sampled_from(["/x?q=1", "/x", "/o/7", "/o/12/i", "/7up", None, "?q"]),
            "status": st.sampled_from([200, 302, 404, 499, 500, 503, None]),
            "code": st.sampled_from([None, None, "H12", "H27"]),
            "service_ms": st.sampled_from([None, 1, 2, 3, 10, 30_000]),
            "connect_ms": st.sampled_from([None, 0, 1]),
            "bytes": st.sampled_from([None, 0, 512]),
        }
    ),
    max_size=30,
)
#: One row outside every range, so that Arrow knows the columns' types.
TYPED = {"time": 10**6, **ROUTER_TYPES}


def path_of(row: Any) -> str:
    return re.sub(r"/[0-9]+\b", "/:id", (row["path"] or "").split("?")[0]) or "(none)"


@settings(max_examples=20, deadline=None)
@given(lines)
def test_every_row_equals_a_plain_computation(run: Any, rows: list[Any]) -> None:
    table = run("operations", {"router": [*rows, TYPED]}, {"bucket": 100, "to": 1_000}).tables["operations"]
    groups: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        for path in (path_of(row), "(all)"):
            groups[row["time"] // 100 * 100, row["app"] or "(none)", path].append(row)
    found = {(row["bucket_start"], row["app"], row["path"]): row for row in table.to_pylist()}
    assert set(found) == set(groups)
    for key, group in groups.items():
        asked = [row for row in group if row["status"] is not None or row["code"] is not None]
        errors = [r for r in asked if (r["status"] is None and r["code"]) or (r["status"] or 0) >= 500]
        clients = [r for r in asked if 400 <= (r["status"] or 0) < 500]
        got = found[key]
        assert (got["requests"], got["errors"], got["client_errors"]) == (
            len(asked),
            len(errors),
            len(clients),
        )
        assert got["unreadable"] == len(group) - len(asked)
        assert got["error_rate"] == (len(errors) / len(asked) if asked else None)
        assert got["requests_per_s"] == len(asked) / 100
        assert got["bytes"] == sum(row["bytes"] or 0 for row in group)
        for name in ("service", "connect"):
            times = [row[f"{name}_ms"] for row in asked if row[f"{name}_ms"] is not None]
            for percent in (50, 90, 95, 99):
                value = got[f"{name}_p{percent}_ms"]
                assert value == (pytest.approx(np.percentile(times, percent)) if times else None)
            assert got[f"{name}_max_ms"] == (max(times) if times else None)


def test_paths_beyond_the_most_frequent_are_one_row(run: Any) -> None:
    rows = [TYPED | {"time": 5, "path": path} for path in ("/a", "/a", "/b", "/c")]
    params = {"max_paths": 2}
    table = run("operations", {"router": rows}, params).tables["operations"].to_pylist()
    assert {row["path"]: row["requests"] for row in table} == {"(all)": 4, "(other)": 1, "/a": 2, "/b": 1}


def test_identifiers_in_paths_can_be_kept_and_paths_left_out(run: Any) -> None:
    rows = [TYPED | {"time": 5, "path": path} for path in ("/o/1", "/o/0123456789abcdef01")]
    for params, paths in (
        ({}, ["(all)", "/o/:id"]),
        ({"group_ids": False}, ["(all)", "/o/0123456789abcdef01", "/o/1"]),
        ({"by_path": False}, ["(all)"]),
    ):
        table = run("operations", {"router": rows}, params).tables["operations"]
        assert table.column("path").to_pylist() == paths


def test_codes_of_all_three_kinds_are_counted(run: Any) -> None:
    dyno = {"time": 1, "app": "a", "process": "web.1", "event": "error", "code": "R14"}
    app = [
        {"time": 1, "app": "a", "message": text}
        for text in ("Error L10 (output buffer overflow): 3 messages dropped", "Error Log", "L10", None)
    ]
    inputs = {"router": [TYPED | {"code": "H12"}], "dyno": [dyno], "app": app}
    table = run("operations", inputs).tables["operations_codes"].to_pylist()
    assert [(row["source"], row["code"], row["events"]) for row in table] == [
        ("dyno", "R14", 1),
        ("logplex", "L10", 1),
        ("router", "H12", 1),
    ]


def test_restarts_crashes_and_failed_exits_are_counted_for_each_process(run: Any) -> None:
    states = [
        ("starting", "up"),
        ("up", "starting"),
        ("starting", "crashed"),
        ("crashed", "starting"),
        ("up", "down"),
    ]
    rows = [
        {"time": 1, "app": "a", "process": "web.1", "event": "state", "state_from": old, "state_to": new}
        for old, new in states
    ]
    rows += [{"time": 1, "app": "a", "process": "web.1", "event": "exit", "exit_status": s} for s in (0, 137)]
    row = run("operations", {"dyno": rows}).tables["operations_dynos"].to_pylist()[0]
    assert (row["restarts"], row["crashes"], row["failed_exits"], row["r_codes"]) == (2, 1, 1, 0)


def test_a_measurement_that_is_no_number_is_only_counted(run: Any) -> None:
    values = [1.0, 4.0, None, float("inf"), float("nan")]
    rows = [{"time": 1, "metric": "memory", "value": value, "unit": "MB"} for value in values]
    row = run("operations", {"metrics": rows}).tables["operations_metrics"].to_pylist()[0]
    assert (row["samples"], row["unreadable"], row["total"], row["lowest"]) == (2, 3, 5.0, 1.0)


def test_something_to_read_is_needed_and_buckets_have_a_length(run: Any) -> None:
    with pytest.raises(InputError, match="give at least one of them"):
        run("operations", {})
    with pytest.raises(ParameterError, match="parameter bucket"):
        run("operations", {"router": [TYPED]}, {"bucket": 0})
