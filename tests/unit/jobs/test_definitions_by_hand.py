"""Corner cases of the definitions, worked out by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.contracts.errors import ParameterError
from jobs.contracts.tables import ColumnType
from jobs.engines.duck import DuckEngine
from jobs.registry import find
from jobs.run.cli import main
from jobs.run.describe import describe
from jobs.run.runner import run_analysis

DAY = 86_400


def second(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def ranked(run: Any, items: list[dict[str, Any]], params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    rows = run("ranking", {"items": items}, params).tables["ranking"].to_pylist()
    return {row["item"]: row for row in rows}


#: Output columns exactly as the definitions name and type them.
DEFINED = {
    "sessions": "session_id VARCHAR, user_id VARCHAR, session_index BIGINT, started_at BIGINT,"
    " ended_at BIGINT, duration_s BIGINT, events BIGINT, entry_event VARCHAR, exit_event VARCHAR,"
    " channel VARCHAR, converted BOOLEAN, value_minor BIGINT",
    "paths": "path VARCHAR, length INTEGER, entities BIGINT, conversions BIGINT, value_minor BIGINT,"
    " share DOUBLE, p50_duration_s DOUBLE",
    "attribution": "model VARCHAR, channel VARCHAR, conversions DOUBLE, value_minor DOUBLE, share DOUBLE,"
    " touches BIGINT, conversions_touched BIGINT, removal_effect DOUBLE, ci_low DOUBLE, ci_high DOUBLE,"
    " spend_minor BIGINT, roas DOUBLE",
    "ranking": "period_start BIGINT, segment VARCHAR, rank INTEGER, rank_max INTEGER, dense_rank INTEGER,"
    " avg_rank DOUBLE, ordinal INTEGER, item VARCHAR, metric DOUBLE, share DOUBLE, cumulative_share DOUBLE,"
    " percent_rank DOUBLE, cume_dist DOUBLE, previous_rank INTEGER, movement INTEGER, status VARCHAR,"
    " previous_metric DOUBLE, change DOUBLE, lower_bound DOUBLE, upper_bound DOUBLE",
    "customer_summary": "customer_id VARCHAR, frequency BIGINT, recency DOUBLE, T DOUBLE,"
    " monetary_minor DOUBLE, unit VARCHAR",
    "retention": "cohort_start BIGINT, period_unit VARCHAR, cohort_size BIGINT, age INTEGER, users BIGINT,"
    " rate DOUBLE, mode VARCHAR, mature BOOLEAN, breakdown VARCHAR",
    "funnel": "breakdown VARCHAR, step INTEGER, step_name VARCHAR, entities BIGINT,"
    " conversion_from_start DOUBLE, conversion_from_previous DOUBLE, dropped BIGINT, ttc_p25_s DOUBLE,"
    " ttc_p50_s DOUBLE, ttc_p75_s DOUBLE, ttc_p90_s DOUBLE, ttc_p95_s DOUBLE, ttc_mean_s DOUBLE",
}


@pytest.mark.parametrize("name", DEFINED)
def test_outputs_have_the_columns_and_types_of_the_definitions(name: str) -> None:
    columns = find(name).output(name).columns
    assert ", ".join(f"{column.name} {ColumnType(column.type).value}" for column in columns) == DEFINED[name]


def test_a_report_range_is_compared_with_the_range_of_the_same_length_before_it(run: Any) -> None:
    items = [
        {"item": "stays", "time": 100, "value": 5},
        {"item": "stays", "time": 150, "value": 5},
        {"item": "goes", "time": 149, "value": 9},
        {"item": "comes", "time": 199, "value": 7},
        {"item": "too old", "time": 99, "value": 1},
        {"item": "too late", "time": 200, "value": 1},
    ]
    found = ranked(run, items, {"from": 150, "to": 200})
    status = {item: (row["status"], row["rank"], row["previous_rank"]) for item, row in found.items()}
    assert status == {"stays": ("same", 2, 2), "goes": ("dropped", None, 1), "comes": ("new", 1, None)}
    assert {row["period_start"] for row in found.values()} == {150}


def test_a_calendar_month_is_compared_with_the_month_before_however_long(run: Any) -> None:
    items = [
        {"item": "a", "time": second("2024-02-10"), "value": 1},
        {"item": "a", "time": second("2024-01-02"), "value": 3},
        {"item": "a", "time": second("2023-12-31"), "value": 50},
    ]
    found = ranked(run, items, {"from": "2024-02-01", "to": "2024-03-01"})
    assert (found["a"]["metric"], found["a"]["previous_metric"]) == (1.0, 3.0)


def test_a_report_range_without_rows_lists_what_was_dropped(run: Any) -> None:
    found = ranked(run, [{"item": "a", "time": 100, "value": 1}], {"from": 150, "to": 200})
    assert found["a"]["status"] == "dropped"


def test_each_period_start_is_a_period_and_an_empty_one_between_breaks_the_comparison(run: Any) -> None:
    starts = [10, 20, 40]
    items = [{"item": "a", "period_start": start, "value": start} for start in starts]
    rows = run("ranking", {"items": items}, {}).tables["ranking"].to_pylist()
    found = [(row["period_start"], row["status"], row["previous_metric"]) for row in rows if row["rank"]]
    assert found == [(10, "new", None), (20, "same", 10.0), (40, "new", None)]


def test_unevenly_spaced_period_starts_follow_one_another(run: Any) -> None:
    months = [second(f"2024-{month:02}-01") for month in (1, 2, 3)]
    items = [{"item": "a", "period_start": start, "value": 1} for start in months]
    rows = run("ranking", {"items": items}, {}).tables["ranking"].to_pylist()
    assert [row["period_start"] for row in rows] == months
    assert [row["status"] for row in rows] == ["new", "same", "same"]


def test_the_whole_period_of_data_through_counts_and_is_mature_when_the_data_goes_on(run: Any) -> None:
    monday = second("2024-01-01")
    events = [
        {"user_id": "u", "time": monday, "seq": 1, "event": "e"},
        {"user_id": "u", "time": monday + 13 * DAY, "seq": 2, "event": "e"},
    ]
    params = {"period": "week", "data_through": "2024-01-08"}
    running = run("retention", {"events": events}, params).tables["retention"].to_pylist()
    later = {"user_id": "v", "time": monday + 14 * DAY, "seq": 1, "event": "e"}
    over = run("retention", {"events": [*events, later]}, params).tables["retention"].to_pylist()
    assert [(row["age"], row["users"], row["mature"]) for row in running] == [(0, 1, True), (1, 1, False)]
    assert [(row["age"], row["users"], row["mature"]) for row in over] == [(0, 1, True), (1, 1, True)]


def test_a_return_event_earlier_in_the_cohorts_period_has_age_0(run: Any) -> None:
    events = [
        {"user_id": "u", "time": 5, "seq": 1, "event": "back"},
        {"user_id": "u", "time": 9, "seq": 2, "event": "start"},
    ]
    params = {"period": "day", "start_event": "start", "return_event": "back"}
    rows = run("retention", {"events": events}, params).tables["retention"].to_pylist()
    assert [(row["age"], row["users"]) for row in rows] == [(0, 1)]


def test_parameters_answer_to_the_names_of_the_definitions(run: Any) -> None:
    events = [{"user_id": "u", "time": time, "seq": time, "event": "e"} for time in (0, 90)]
    by_alias = run("funnel", {"events": events}, {"steps": ["e", "e"], "W": 60})
    assert by_alias.manifest["params"]["window"] == 60
    window = next(entry for entry in describe(find("funnel"))["parameters"] if entry["name"] == "window")
    assert "W" in window["aliases"]
    with pytest.raises(ParameterError, match="window is given twice, as W and window"):
        run("funnel", {"events": events}, {"steps": ["e"], "W": 60, "window": 60})


def test_position_takes_a_preset_and_a_string_is_a_list_of_one(run: Any) -> None:
    inputs = {"paths": [{"path": "a > b > c", "conversions": 1}]}
    result = run("attribution", inputs, {"model": "position", "position": "treasure_data"})
    credit = {row["channel"]: row["conversions"] for row in result.tables["attribution"].to_pylist()}
    assert credit == pytest.approx({"a": 0.35, "b": 0.3, "c": 0.35})


def test_fractional_values_of_aggregated_paths_add_up() -> None:
    paths = pa.table({"path": ["a > b", "b", ""], "conversions": [1, 2, 1], "value_minor": [0.25, 3.5, 1.0]})
    engine = DuckEngine(threads=1)
    try:
        result = run_analysis("attribution", engine, {"paths": paths}, {"models": ["last"]})
    finally:
        engine.close()
    rows = {row["channel"]: row["value_minor"] for row in result.tables["attribution"].to_pylist()}
    assert rows == {"b": 3.75, "(unattributed)": 1.0, "a": 0.0}


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_may_be_separated_by_semicolons_or_tabs(tmp_path: Path, mark: str) -> None:
    file = tmp_path / "in.csv"
    lines = [["user_id", "time", "seq", "event"], ["u", "5", "1", '"a;b,c"'], ["u", "6", "2", "é"]]
    file.write_text("\n".join(mark.join(line) for line in lines) + "\n", encoding="utf-8")
    arguments = ["run", "sessions", "--input", f"events={file}", "--out", str(tmp_path / "out")]
    assert main(arguments, {"duckdb": lambda: DuckEngine(threads=1)}) == 0
    [row] = pq.read_table(tmp_path / "out" / "sessions.parquet").to_pylist()
    assert (row["entry_event"], row["exit_event"]) == ("a;b,c", "é")


def test_repeated_keys_are_found_in_and_out_of_order(run: Any) -> None:
    def rows(seqs: list[int]) -> list[dict[str, Any]]:
        return [{"user_id": "u", "time": 5, "seq": seq, "event": "e"} for seq in seqs]

    for seqs, repeats in (([1, 2, 3], 0), ([3, 1, 2], 0), ([1, 2, 2], 1), ([2, 1, 2, 1], 2)):
        excluded = run("sessions", {"events": rows(seqs)}, {}).manifest["rows_excluded"]["events"]
        assert excluded == ({"duplicate": repeats} if repeats else {}), seqs
    lowest = run("sessions", {"events": rows([-(2**63), -(2**63)])}, {}).manifest["rows_excluded"]
    assert lowest["events"] == {"duplicate": 1}


def test_funnel_places_hold_the_largest_numbers_and_the_smallest(run: Any) -> None:
    events = [
        {"user_id": "u", "time": 0, "seq": 2**63 - 1, "event": "a"},
        {"user_id": "u", "time": 253_402_300_799, "seq": -(2**63), "event": "b"},
        {"user_id": "v", "time": 7, "seq": 2**63 - 1, "event": "b"},
        {"user_id": "v", "time": 7, "seq": -(2**63), "event": "a"},
    ]
    params = {"steps": ["a", "b"], "window": None, "with_entities": True}
    rows = run("funnel", {"events": events}, params).tables["funnel_entities"].to_pylist()
    assert [(row["entity_id"], row["level"], row["started_at"], row["reached_at"]) for row in rows] == [
        ("u", 2, 0, 253_402_300_799),
        ("v", 2, 7, 7),
    ]


def test_a_table_larger_than_the_memory_limit_spills_to_the_temporary_folder() -> None:
    engine = DuckEngine(threads=1, memory_limit="40MB")
    try:
        engine.materialize("large", "SELECT hash(i) AS a, hash(i + 1) AS b, i FROM range(3000000) AS t(i)")
        files = "SELECT COUNT(*) AS n, MIN(path) AS path FROM duckdb_temporary_files()"
        [spilled] = engine.collect(files).to_pylist()
        [found] = engine.collect("SELECT COUNT(DISTINCT a) AS n, MAX(i) AS last FROM large").to_pylist()
    finally:
        engine.close()
    assert spilled["n"] > 0
    assert Path(spilled["path"]).is_relative_to(tempfile.gettempdir())
    assert not Path(spilled["path"]).exists()
    assert found == {"n": 3_000_000, "last": 2_999_999}
