"""Customer summary and RFM against plain Python computations and the real CDNOW sample."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.contracts.errors import ParameterError

DAY = 86_400
CDNOW = Path(__file__).parents[3] / "examples" / "data" / "CDNOW_sample.txt"

transaction_rows = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": st.sampled_from("abcdefg"),
            "time": st.integers(0, 20 * DAY),
            "amount_minor": st.integers(-3, 6),
        }
    ),
    max_size=25,
)


def days_of(rows: list[Any], last: int) -> dict[str, dict[int, int]]:
    days: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        if row["amount_minor"] >= 0 and row["time"] // DAY <= last:
            days[row["customer_id"]][row["time"] // DAY] += row["amount_minor"]
    return days


@settings(max_examples=40, deadline=None)
@given(transaction_rows, st.integers(0, 22))
def test_the_summary_equals_a_plain_computation(run: Any, rows: list[Any], last: int) -> None:
    result = run("customer_summary", {"transactions": rows}, {"end": last * DAY + 5, "freq_multiplier": 7})
    wanted = {}
    for customer, sums in days_of(rows, last).items():
        first, repeats = min(sums), [value for day, value in sums.items() if day > min(sums)]
        mean = sum(repeats) / len(repeats) if repeats else 0.0
        wanted[customer] = (len(repeats), (max(sums) - first) / 7, (last - first) / 7, mean)
    assert {
        row["customer_id"]: (row["frequency"], row["recency"], row["T"], row["monetary_minor"])
        for row in result.tables["customer_summary"].to_pylist()
    } == wanted


@settings(max_examples=30, deadline=None)
@given(transaction_rows, st.integers(0, 20), st.integers(1, 10), st.sampled_from(["day", "week"]))
def test_the_holdout_equals_a_plain_computation(
    run: Any, rows: list[Any], split: int, ahead: int, unit: str
) -> None:
    last, step = split + ahead, {"day": 1, "week": 7}[unit]
    params = {"calibration_end": split * DAY, "end": last * DAY, "unit": unit}
    result = run("customer_summary", {"transactions": rows}, params)
    known = run("customer_summary", {"transactions": rows}, {"end": split * DAY, "unit": unit})
    later: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        day = row["time"] // DAY
        if row["amount_minor"] >= 0 and split < day <= last:
            period = day if unit == "day" else (day + 3) // 7
            later[row["customer_id"]][period] += row["amount_minor"]
    wanted = [
        {
            "customer_id": row["customer_id"],
            "frequency_cal": row["frequency"],
            "recency_cal": row["recency"],
            "T_cal": row["T"],
            "monetary_minor_cal": row["monetary_minor"],
            "frequency_holdout": len(later[row["customer_id"]]),
            "monetary_holdout": sum(later[row["customer_id"]].values())
            / max(len(later[row["customer_id"]]), 1),
            "duration": ahead / step,
            "unit": unit,
        }
        for row in known.tables["customer_summary"].to_pylist()
    ]
    assert result.tables["customer_holdout"].to_pylist() == wanted


def test_cdnow_holds_out_what_the_paper_holds_out(run: Any) -> None:
    """1,882 further purchases in the 39 weeks to June 1998 (Fader, Hardie, Lee 2005)."""
    params = {"calibration_end": "1997-09-30", "end": "1998-06-30", "freq_multiplier": 7}
    rows = run("customer_summary", {"transactions": cdnow()}, params).tables["customer_holdout"].to_pylist()
    assert (len(rows), sum(row["frequency_holdout"] for row in rows)) == (2357, 1882)
    assert rows[0]["duration"] == 39.0


def test_a_holdout_of_nothing_is_refused(run: Any) -> None:
    rows = [{"customer_id": "c", "time": 5 * DAY, "amount_minor": 1}]
    with pytest.raises(ParameterError, match=r"parameter calibration_end: .* give a day before `end`"):
        run("customer_summary", {"transactions": rows}, {"calibration_end": 5 * DAY})


def test_a_day_is_a_day_of_the_zone(run: Any) -> None:
    """23:30 and 00:30 UTC are one day in Berlin, and two in Reykjavik."""
    rows = [{"customer_id": "c", "time": 20 * DAY + 1_800 * half, "amount_minor": 1} for half in (-1, 1)]
    for zone, frequency in (("Europe/Berlin", 0), ("Atlantic/Reykjavik", 1), ("UTC", 1)):
        table = run("customer_summary", {"transactions": rows}, {"zone": zone}).tables["customer_summary"]
        assert table.column("frequency").to_pylist() == [frequency]
        days = run("rfm", {"transactions": rows}, {"zone": zone}).tables["rfm"]
        assert days.column("frequency").to_pylist() == [frequency + 1]


def tile(position: int, count: int, buckets: int) -> int:
    """SQL's NTILE: the first groups are the larger ones."""
    size, larger = divmod(count, buckets)
    edge = larger * (size + 1)
    return position // (size + 1) + 1 if position < edge else larger + (position - edge) // size + 1


def values_of(rows: list[Any], last: int) -> dict[str, tuple[int, int, int]]:
    net: dict[str, int] = defaultdict(int)
    for row in rows:
        if row["time"] // DAY <= last:
            net[row["customer_id"]] += row["amount_minor"]
    return {
        customer: (last - max(sums), len(sums), net[customer])
        for customer, sums in days_of(rows, last).items()
    }


@settings(max_examples=40, deadline=None)
@given(transaction_rows, st.integers(2, 5))
def test_rfm_groups_equal_a_plain_computation(run: Any, rows: list[Any], buckets: int) -> None:
    values = values_of(rows, 20)
    wanted = {customer: [0, 0, 0] for customer in values}
    for place in range(3):
        ordered = sorted(values, key=lambda customer: (values[customer][place], customer))
        for position, customer in enumerate(ordered):
            score = tile(position, len(ordered), buckets)
            wanted[customer][place] = buckets + 1 - score if place == 0 else score
    result = (
        run("rfm", {"transactions": rows}, {"as_of": 20 * DAY, "buckets": buckets}).tables["rfm"].to_pylist()
    )
    assert {row["customer_id"]: [row["r"], row["f"], row["m"]] for row in result} == wanted
    for row in result:
        assert (row["recency_days"], row["frequency"], row["monetary_minor"]) == values[row["customer_id"]]
        assert row["rfm"] == f"{row['r']}{row['f']}{row['m']}"


@settings(max_examples=25, deadline=None)
@given(transaction_rows)
def test_rfm_thresholds_give_equal_values_equal_scores(run: Any, rows: list[Any]) -> None:
    cuts = {"r_thresholds": [2, 10], "f_thresholds": [2, 3], "m_thresholds": [0, 7.5]}
    result = run("rfm", {"transactions": rows}, {"as_of": 20 * DAY, "method": "thresholds", **cuts})
    for row in result.tables["rfm"].to_pylist():
        assert row["r"] == 1 + sum(row["recency_days"] <= cut for cut in cuts["r_thresholds"])
        assert row["f"] == 1 + sum(row["frequency"] >= cut for cut in cuts["f_thresholds"])
        assert row["m"] == 1 + sum(row["monetary_minor"] >= cut for cut in cuts["m_thresholds"])


def test_the_shipped_segments_cover_every_score_once() -> None:
    text = (Path(__file__).parents[3] / "jobs/analyses/data/rfm_segments.csv").read_text(encoding="utf-8")
    boxes = [line.split(",") for line in text.splitlines()[1:]]
    for r in range(1, 6):
        for f in range(1, 6):
            names = [b[4] for b in boxes if int(b[0]) <= r <= int(b[1]) and int(b[2]) <= f <= int(b[3])]
            assert len(names) == 1, (r, f, names)


def test_users_can_name_their_own_segments(run: Any) -> None:
    rows = [{"customer_id": c, "time": i * DAY, "amount_minor": 1} for i, c in enumerate("ab")]
    boxes = [{"r_lo": 2, "r_hi": 2, "f_lo": 1, "f_hi": 2, "name": "fresh"}]
    result = run("rfm", {"transactions": rows, "rfm_segments": boxes}, {"buckets": 2}).tables["rfm"]
    assert result.column("segment").to_pylist() == ["other", "fresh"]


def cdnow() -> list[dict[str, Any]]:
    rows = []
    for line in CDNOW.read_text(encoding="ascii").splitlines():
        _, customer, day, _, dollars = line.split()
        time = int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp())
        rows.append({"customer_id": customer, "time": time, "amount_minor": round(float(dollars) * 100)})
    return rows


def test_cdnow_gives_the_published_customers(run: Any) -> None:
    """946 repeat customers; customer 1: x = 2, tx = 30.43, T = 38.86 weeks (Fader, Hardie, Lee 2005)."""
    params = {"end": "1997-09-30", "freq_multiplier": 7}
    rows = run("customer_summary", {"transactions": cdnow()}, params).tables["customer_summary"].to_pylist()
    assert (len(rows), sum(row["frequency"] > 0 for row in rows)) == (2357, 946)
    assert (rows[0]["frequency"], round(rows[0]["recency"], 2), round(rows[0]["T"], 2)) == (2, 30.43, 38.86)


@pytest.mark.parametrize(
    "params",
    [
        {"method": "thresholds"},
        {"r_thresholds": [1, 2]},
        {"method": "thresholds", "r_thresholds": [2, 1], "f_thresholds": [1], "m_thresholds": [1]},
        {"buckets": 1},
        {"as_of": "yesterday"},
    ],
)
def test_impossible_rfm_parameters_are_refused(run: Any, params: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"parameter (r_thresholds|buckets|as_of)"):
        run("rfm", {"transactions": []}, params)


def test_an_empty_table_gives_an_empty_result(run: Any) -> None:
    assert run("customer_summary", {"transactions": []}).tables["customer_summary"].num_rows == 0
