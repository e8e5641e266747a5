"""Customer reports against independent programs: lifetimes, in the peers' environment, and ClickHouse."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from jobs.engines.duck import DuckEngine
from jobs.run.runner import run_analysis

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / ".venv" / "peers" / "bin" / "python"
CDNOW = Path(__file__).parents[2] / "examples" / "data" / "CDNOW_sample.txt"
DAY = 86_400

SUMMARY = """
import sys, pandas
from lifetimes.utils import calibration_and_holdout_data, summary_data_from_transaction_data
data = pandas.read_csv(sys.argv[1])
data["date"] = pandas.to_datetime(data["time"], unit="s")
more = dict(monetary_value_col="amount_minor", freq="D", freq_multiplier=7)
summary = summary_data_from_transaction_data(
    data, "customer_id", "date", observation_period_end="1997-09-30", **more
)
held = calibration_and_holdout_data(
    data, "customer_id", "date", "1997-09-30", observation_period_end="1998-06-30", **more
)
print("RESULT" + "[%s,%s]" % tuple(t.reset_index().to_json(orient="records") for t in (summary, held)))
"""
MODELS = """
import json, sys, pandas
from lifetimes import BetaGeoFitter, GammaGammaFitter, ParetoNBDFitter
data = pandas.read_csv(sys.argv[1])
found = {}
for name, kind in (("bg_nbd", BetaGeoFitter), ("pareto_nbd", ParetoNBDFitter)):
    model = kind().fit(data["frequency"], data["recency"], data["T"])
    who = (data["frequency"], data["recency"], data["T"])
    alive = model.conditional_probability_alive(*who)
    bought = model.conditional_expected_number_of_purchases_up_to_time(39, *who)
    found[name] = [dict(model.params_), list(map(float, alive)), list(map(float, bought))]
spent = data[(data["frequency"] > 0) & (data["monetary_minor"] > 0)]
value = GammaGammaFitter().fit(spent["frequency"], spent["monetary_minor"] / 100)
found["gamma_gamma"] = dict(value.params_)
print("RESULT" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckEngine]:
    duck = DuckEngine()
    yield duck
    duck.close()


def peer(script: str, *arguments: str) -> Any:
    if not PEERS.exists():
        pytest.fail("the peers are not installed in .venv/peers: `make test-all` does it")
    done = subprocess.run(
        [str(PEERS), "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout.partition("RESULT")[2])


@pytest.fixture(scope="module")
def purchases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = ["customer_id,time,amount_minor"]
    for line in CDNOW.read_text(encoding="ascii").splitlines():
        _, customer, day, _, dollars = line.split()
        time = int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp())
        lines.append(f"c{customer},{time},{round(float(dollars) * 100)}")
    file = tmp_path_factory.mktemp("peers") / "purchases.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def bought_twice_a_day(purchases: Path) -> set[str]:
    lines = [line.split(",") for line in purchases.read_text(encoding="utf-8").splitlines()[1:]]
    days = Counter((customer, time) for customer, time, _ in lines)
    return {customer for (customer, _), count in days.items() if count > 1}


def test_summary_and_holdout_of_every_customer_equal_lifetimes(engine: DuckEngine, purchases: Path) -> None:
    summary, held = peer(SUMMARY, str(purchases))
    end = {"end": "1997-09-30", "freq_multiplier": 7}
    ours = run_analysis("customer_summary", engine, {"transactions": purchases}, end).tables
    assert len(summary) == ours["customer_summary"].num_rows == 2357
    for mine, theirs in zip(ours["customer_summary"].to_pylist(), summary, strict=True):
        assert mine["customer_id"] == theirs["customer_id"]
        for name, other in (
            ("frequency",) * 2,
            ("recency",) * 2,
            ("T",) * 2,
            ("monetary_minor", "monetary_value"),
        ):
            assert mine[name] == pytest.approx(theirs[other], rel=1e-9)
    split = {"end": "1998-06-30", "calibration_end": "1997-09-30", "freq_multiplier": 7}
    ours = run_analysis("customer_summary", engine, {"transactions": purchases}, split).tables
    pairs = {
        "frequency_cal": "frequency_cal",
        "recency_cal": "recency_cal",
        "T_cal": "T_cal",
        "monetary_minor_cal": "monetary_value_cal",
        "frequency_holdout": "frequency_holdout",
        "monetary_holdout": "monetary_value_holdout",
    }
    twice = bought_twice_a_day(purchases)
    for mine, theirs in zip(ours["customer_holdout"].to_pylist(), held, strict=True):
        assert mine["customer_id"] == theirs["customer_id"]
        for name, other in pairs.items():
            if name == "monetary_holdout" and mine["customer_id"] in twice:
                continue  # the peer takes the mean of the rows here, the definition that of the days
            assert mine[name] == pytest.approx(theirs[other], rel=1e-9), (name, mine, theirs)
        assert mine["duration"] == pytest.approx(theirs["duration_holdout"])


def test_models_and_predictions_of_every_customer_equal_lifetimes(
    engine: DuckEngine, purchases: Path, tmp_path: Path
) -> None:
    end = {"end": "1997-09-30"}
    summary = run_analysis(
        "customer_summary", engine, {"transactions": purchases}, end | {"freq_multiplier": 7}
    ).tables["customer_summary"]
    file = tmp_path / "summary.csv"
    pacsv.write_csv(summary, file)
    found = peer(MODELS, str(file))
    for model in ("bg_nbd", "pareto_nbd"):
        parameters, alive, bought = found[model]
        params = end | {"model": model, "horizon": 39}
        tables = run_analysis("clv", engine, {"transactions": purchases}, params).tables
        ours = {
            row["parameter"]: row["value"]
            for row in tables["clv_parameters"].to_pylist()
            if row["model"] == model
        }
        assert ours == pytest.approx(parameters, rel=2e-3)
        rows = tables["clv"].to_pylist()
        assert [row["p_alive"] for row in rows] == pytest.approx(alive, rel=2e-3)
        assert [row["expected_purchases"] for row in rows] == pytest.approx(bought, rel=2e-3)
    value = {
        row["parameter"]: row["value"]
        for row in tables["clv_parameters"].to_pylist()
        if row["model"] == "gamma_gamma"
    }
    assert value["p"] == pytest.approx(found["gamma_gamma"]["p"], rel=1e-3)
    assert value["q"] == pytest.approx(found["gamma_gamma"]["q"], rel=1e-3)
    assert value["v"] / 100 == pytest.approx(found["gamma_gamma"]["v"], rel=1e-3)


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(11)
    count = 20_000
    file = tmp_path_factory.mktemp("peers") / "visits.parquet"
    columns = {
        "user_id": [f"u{user}" for user in rng.integers(0, 3_000, count)],
        "time": np.sort(1_700_000_000 + rng.integers(0, 70 * DAY, count)),
        "seq": np.arange(count),
        "event": np.array(["view", "buy"])[rng.integers(0, 2, count)],
    }
    pq.write_table(pa.table(columns), file)
    return file


def clickhouse(sql: str) -> list[list[int]]:
    chdb = importlib.import_module("chdb")
    return [[int(cell) for cell in line.split(",")] for line in str(chdb.query(sql, "CSV")).splitlines()]


def test_a_cohort_and_its_return_equal_clickhouses_retention(engine: DuckEngine, visits: Path) -> None:
    """`retention(c0, c1, ...)` says of each user whether c0 holds, and which of the others do with it."""
    week = "intDiv(intDiv(assumeNotNull(time), 86400) + 3, 7)"
    rows = (
        run_analysis("retention", engine, {"events": visits}, {"period": "week"})
        .tables["retention"]
        .to_pylist()
    )
    for cohort in sorted({row["cohort_start"] for row in rows}):
        mine = [row for row in rows if row["cohort_start"] == cohort]
        if len(mine) == 1:
            continue  # the peer's function wants two conditions
        number = (cohort // DAY + 3) // 7
        steps = ", ".join(f"{week} = {number + age}" for age in range(len(mine)))
        sums = ", ".join(f"sum(r[{age + 1}])" for age in range(len(mine)))
        sql = (
            f"SELECT {sums} FROM (SELECT user_id, retention({steps}) AS r FROM file('{visits}', Parquet)"  # noqa: S608 - fixed text
            f" GROUP BY user_id HAVING min({week}) = {number})"
        )
        assert clickhouse(sql) == [[row["users"] for row in mine]]
