"""The sections on activity, lifetime, service, scores and retention's modes: what they say is in the data."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.engines.duck import DuckEngine
from jobs.registry import names
from jobs.report.condensed import MANY, condensed
from jobs.report.runs import RunFolder
from jobs.report.sections import BUILDERS, build
from jobs.run.runner import run_analysis

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jobs.report.model import Section

DAY = 86_400
START = 1_795_046_400  # 2026-11-19


@pytest.fixture
def section(tmp_path: Path) -> Callable[..., Section]:
    """Run an analysis on DuckDB, and tell its first section."""

    def make(analysis: str, tables: dict[str, list[dict[str, Any]]], **params: Any) -> Section:
        engine = DuckEngine(threads=1)
        try:
            inputs = {name: pa.Table.from_pylist(rows) for name, rows in tables.items()}
            run_analysis(analysis, engine, inputs, params, tmp_path / analysis)
        finally:
            engine.close()
        (found,) = build([RunFolder.open(tmp_path / analysis, "EUR")]).sections
        return found

    return make


def figures(section: Section) -> dict[str, Any]:
    return {figure.key: figure.value for figure in section.figures}


def texts(section: Section, chart: int = 0) -> list[list[str]]:
    return [[cell.text for cell in row] for row in section.charts[chart].data.rows]


def purchases(rng: random.Random, customers: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "customer_id": f"c{customer}",
            "time": START + rng.randrange(200) * DAY,
            "amount_minor": rng.randrange(1_000, 9_000),
        }
        for customer in range(customers)
        for _ in range(rng.randrange(1, 7))
    ]


def test_every_analysis_has_a_section() -> None:
    assert set(names()) <= set(BUILDERS)


def test_churn_tells_the_latest_period_that_is_over(section: Callable[..., Section]) -> None:
    rows = [
        {"customer_id": who, "time": START + day * DAY, "amount_minor": 1}
        for day, active in enumerate(["abcd", "abe", "ac", "a"])
        for who in active
    ]
    found = section("churn", {"transactions": rows}, period="day", data_through=START + 3 * DAY + 60)
    assert found.finding == ("In the day of 2026-11-21, 67 % of those active before left: 2 of 3")
    assert texts(found) == [
        ["2026-11-22*", "1", "1", "0", "0", "1", "50 %"],
        ["2026-11-21", "2", "1", "0", "1", "2", "67 %"],
        ["2026-11-20", "3", "2", "1", "0", "2", "50 %"],
        ["2026-11-19", "4", "0", "4", "0", "0", "-"],
    ]
    assert figures(found) == {
        "active": 2, "new": 0, "resurrected": 1, "churned": 2, "churn_rate": pytest.approx(2 / 3),
    }  # fmt: skip
    drawn = {(one["label"], one["series"]): one["value"] for one in found.charts[0].spec["data"]["values"]}
    assert drawn["2026-11-21", "left"] == -2
    assert found.notes == ("A star marks a day that is not over yet: who is missing there may still come.",)


def test_sessions_are_told_by_channel_and_day(section: Callable[..., Section]) -> None:
    events = [
        {
            "user_id": user,
            "time": START + at,
            "seq": at,
            "event": event,
            "channel": channel,
            "value_minor": value,
        }
        for user, at, event, channel, value in (
            ("a", 0, "view", "email", None),
            ("a", 100, "purchase", "email", 500),
            ("a", DAY, "view", "email", None),
            ("b", 50, "view", "direct", None),
            ("c", DAY + 9, "view", "email", None),
        )
    ]
    found = section("sessions", {"events": events})
    assert found.finding == "4 sessions, of which 25 % converted; most begin with email (75 %)"
    assert texts(found) == [
        ["email", "3", "75 %", "33 %", "5.00", "1.3", "33 s"],
        ["direct", "1", "25 %", "0 %", "0.00", "1", "0 s"],
    ]
    assert texts(found, 1) == [["2026-11-20", "2", "2", "0"], ["2026-11-19", "2", "1", "1"]]
    assert figures(found) == {
        "sessions": 4, "users": 3, "converted": 0.25, "value": 500, "channel:email": 3, "channel:direct": 1,
    }  # fmt: skip


def test_lifetime_value_is_told_by_tenths_that_add_up(
    section: Callable[..., Section], tmp_path: Path
) -> None:
    known = {"model_parameters": [0.24, 4.4, 0.8, 2.4], "value_parameters": [6.0, 4.0, 1_500.0]}
    found = section("clv", {"transactions": purchases(random.Random(4))}, **known)  # noqa: S311  (a sample)
    rows = pq.read_table(tmp_path / "clv" / "clv.parquet").to_pylist()
    ordered = sorted((row["clv_minor"] for row in rows), reverse=True)
    best = sum(ordered[:6]) / sum(ordered)
    assert found.finding == f"The best tenth of the customers holds {best * 100:.0f} % of the value to come"
    listed = texts(found)
    assert [row[1] for row in listed] == ["6"] * 10 + ["60"]
    assert figures(found)["clv"] == pytest.approx(sum(ordered))
    assert figures(found)["alive"] == round(sum(row["p_alive"] for row in rows))
    assert sum(int(row[1]) for row in texts(found, 1)) == 60


def test_a_model_that_does_not_hold_is_said_so_and_draws_nothing(section: Callable[..., Section]) -> None:
    rows = [{"customer_id": f"c{n}", "time": START, "amount_minor": 500} for n in range(5)]
    found = section("clv", {"transactions": rows})
    assert found.charts == ()
    assert found.finding == "Nothing can be said yet about the future of 5 customers"
    assert len(found.notes) == 2
    assert figures(found) == {"customers": 5, "alive": None, "clv": None}


def test_profiles_are_told_by_segment_and_channel(section: Callable[..., Section], tmp_path: Path) -> None:
    rng = random.Random(9)  # noqa: S311  (a repeatable sample)
    bought = purchases(rng, 40)
    events = [
        {
            "user_id": f"c{n}",
            "time": START + n,
            "seq": n,
            "event": "view",
            "channel": ("email", "direct")[n % 2],
        }
        for n in range(50)
    ]
    found = section("profile", {"transactions": bought, "events": events})
    rows = pq.read_table(tmp_path / "profile" / "profile.parquet").to_pylist()
    assert found.finding == f"{len(rows)} customers are known, 80 % of them ever bought"
    assert figures(found)["net"] == sum(row["amount_minor"] for row in bought)
    by_channel = {row[0]: int(row[1]) for row in texts(found, 1)}
    assert by_channel == {"email": 25, "direct": 25}
    assert sum(int(row[1]) for row in texts(found)) == len(rows)
    assert "(no purchase)" in {row[0] for row in texts(found)}


def test_operations_tell_the_worst_hour_the_worst_paths_and_the_codes(
    section: Callable[..., Section],
) -> None:
    router = [
        {"time": START + n, "app": "shop", "path": "/", "status": 200, "code": None, "service_ms": 10,
         "bytes": 100}
        for n in range(98)
    ] + [
        {"time": START + 3_600 + n, "app": "shop", "path": "/cart", "status": 503, "code": "H12",
         "service_ms": 30_000, "bytes": 0}
        for n in range(2)
    ]  # fmt: skip
    found = section("operations", {"router": router})
    assert found.finding == "100 requests, 2.0 % of them errors"
    assert found.charts[0].title == "The worst 1 h: 100 % of shop, 2026-11-19 01:00"
    assert found.charts[1].title == "The worst 1 h: 30,000 ms of shop, 2026-11-19 01:00"
    tables = {caption: [[cell.text for cell in row] for row in grid.rows] for caption, grid in found.tables}
    assert tables["Apps"] == [["shop", "100", "2.0 %", "0 %", "30,000 ms", "9.8 kB"]]
    assert tables["Paths with most errors, then with most requests"][0][:4] == ["shop", "/cart", "2", "2"]
    assert tables["Codes of router, dynos and log router"] == [
        ["H12", "request timeout", "shop", "router", "2"]
    ]
    assert figures(found) == {
        "requests": 100, "errors": 2, "error_rate": 0.02, "p95": 30_000, "code:H12": 2,
    }  # fmt: skip


def test_usage_is_told_by_table_and_day(section: Callable[..., Section]) -> None:
    ingested = [
        {
            "time": START + day * DAY,
            "database": "shop",
            "table_name": name,
            "rows_in": rows,
            "bytes_in": rows * 10,
        }
        for day, name, rows in ((0, "orders", 5), (1, "orders", 7), (1, "views", 100))
    ]
    stored = [{"time": START + DAY, "database": "shop", "table_name": "views", "bytes_stored": 2_500_000}]
    found = section("usage", {"ingested": ingested, "stored": stored})
    assert found.finding == "112 rows came in on 2 days; 2.5 MB are stored"
    ((_, table),) = found.tables
    assert [[cell.text for cell in row][:4] for row in table.rows] == [
        ["shop.views", "100", "1 kB", "2.5 MB"], ["shop.orders", "12", "120 B", "-"],
    ]  # fmt: skip
    assert texts(found) == [["2026-11-20", "107", "100", "7"], ["2026-11-19", "5", "0", "5"]]


def test_a_ranking_by_a_score_shows_small_numbers_and_their_formula(section: Callable[..., Section]) -> None:
    items = [
        {"item": name, "time": START, "ups": ups, "downs": 1, "created": START}
        for name, ups in (("a", 3), ("b", 9))
    ]
    found = section("ranking", {"items": items}, metric="score", score="wilson_low")
    assert found.finding == "“b” leads with a score (wilson low) of 0.5958"
    ((_, table),) = found.tables
    assert table.headings[3] == "Score (wilson low)"
    assert [row[3].text for row in table.rows] == ["0.5958", "0.3006"]


def test_an_approximate_ranking_shows_its_bounds_and_what_is_certain(section: Callable[..., Section]) -> None:
    rng = random.Random(2)  # noqa: S311  (a repeatable sample)
    items = [
        {"item": f"p{min(rng.randrange(60), rng.randrange(60), rng.randrange(60))}", "time": START + n}
        for n in range(3_000)
    ]
    found = section("ranking", {"items": items}, metric="count", approx=True, slots=20, top=5)
    ((_, table),) = found.tables
    assert table.headings[4:6] == ("At least", "At most")
    for row in table.rows:
        low, high = (int(row[at].text.replace(",", "")) for at in (4, 5))
        true = sum(item["item"] == row[2].text for item in items)
        assert low <= true <= high
    assert found.notes[-1].startswith("Counted approximately:")


@pytest.mark.parametrize(
    ("mode", "ages", "finding"),
    [
        ("day_n", ["0", "1", "2", "3"], "Of those who start, 50 % after 1 day and 0 % after 3 days are back"),
        ("unbounded", ["0", "1", "2", "3"],
         "Of those who start, 75 % after 1 day or later and 0 % after 3 days or later are back"),
        ("bracket", ["0", "1-2"], "Of those who start, 75 % in days 1-2 are back"),
    ],
)  # fmt: skip
def test_retention_says_how_its_mode_is_read(
    section: Callable[..., Section], mode: str, ages: list[str], finding: str
) -> None:
    events = [
        {"user_id": user, "time": START + day * DAY, "seq": 0, "event": "x"}
        for user, days in (("a", (0, 1)), ("b", (0, 2)), ("c", (0, 1, 2)), ("d", (0,)))
        for day in days
    ]
    brackets = {"brackets": [[0, 0], [1, 2]]} if mode == "bracket" else {}
    through = START + 4 * DAY - 1
    found = section(
        "retention", {"events": events}, mode=mode, period="day", data_through=through, **brackets
    )
    assert found.finding == finding
    assert sorted({one["x"] for one in found.charts[0].spec["data"]["values"]}) == ages


def test_rows_of_customers_are_added_up_as_columns(tmp_path: Path) -> None:
    size = 300_000
    table = pa.table(
        {
            "customer_id": [f"c{n}" for n in range(size)],
            "frequency": [n % 3 for n in range(size)],
            "monetary_minor": [float(n % 3) for n in range(size)],
            "unit": ["day"] * size,
        }
    )
    pq.write_table(table, tmp_path / "customer_summary.parquet")
    found = condensed(RunFolder(tmp_path, {}), "customer_summary")
    assert found == [
        {"frequency": n, "unit": "day", "monetary_minor": 100_000.0 * n, "n": 100_000} for n in range(3)
    ]


def test_of_very_many_paths_the_most_common_are_told_and_all_are_counted(tmp_path: Path) -> None:
    size = MANY + 700
    table = pa.table(
        {
            "path": [f"a{n} > b" for n in range(size)],
            "length": [2] * size,
            "entities": [2 * size - n for n in range(size)],
            "conversions": [1] * size,
            "value_minor": [100] * size,
            "share": [(2 * size - n) / (size * (3 * size + 1) / 2) for n in range(size)],
            "p50_duration_s": [1.0] * size,
        }
    )
    pq.write_table(table, tmp_path / "paths.parquet")
    (tmp_path / "manifest.json").write_text('{"analysis": "paths", "version": 1}')
    (found,) = build([RunFolder.open(tmp_path)]).sections
    assert found.finding.startswith("The most common of 5,700 paths, “a0 → b”")
    ((_, listed),) = found.tables
    assert (len(listed.rows), listed.left_out) == (30, size - 30)
    told = figures(found)
    assert (told["paths"], told["value"]) == (size, 100 * size)
    assert told["entities"] == sum(2 * size - n for n in range(size))
    assert "path:(other)" not in told


def test_of_a_very_long_ranking_the_first_places_are_told_and_all_are_counted(tmp_path: Path) -> None:
    size = MANY + 1_000
    ranked = [
        {
            "period_start": day * DAY, "segment": "(all)", "rank": n + 1, "ordinal": n + 1, "item": f"p{n}",
            "metric": float(size - n), "share": 1 / size, "previous_rank": None, "movement": None,
            "status": "same", "previous_metric": None,
        }
        for day in (1, 2) for n in range(size)
    ]  # fmt: skip
    gone = {
        **ranked[-1],
        "rank": None,
        "ordinal": None,
        "item": "gone",
        "previous_rank": 3,
        "status": "dropped",
    }
    kinds = pa.Table.from_pylist(
        [{**ranked[0], "previous_rank": 1, "movement": 1, "previous_metric": 1.0}]
    ).schema
    pq.write_table(pa.Table.from_pylist([*ranked, gone], schema=kinds), tmp_path / "ranking.parquet")
    manifest = '{"analysis": "ranking", "version": 1, "params": {"period": "day", "metric": "sum"}}'
    (tmp_path / "manifest.json").write_text(manifest)
    rows = condensed(RunFolder.open(tmp_path), "ranking")
    assert rows is not None
    assert len(rows) == MANY + 1
    assert {row["period_start"] for row in rows} == {2 * DAY}
    assert "gone" in {row["item"] for row in rows}
    (found,) = build([RunFolder.open(tmp_path)]).sections
    assert "the latest of 2" in found.explanation
    assert figures(found)["items"] == size
