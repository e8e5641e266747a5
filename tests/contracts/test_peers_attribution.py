"""Attribution and rankings against independent programs; attribution against the figures of PathData.

The programs run in an environment of their own and meet ours over files. PathData is not in this repository:
`SLUICE_PATHDATA=FILE` names a copy (`path;total_conversions;total_conversion_value;total_null`).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobs.engine.staging import Source
from jobs.engines.duck import DuckEngine
from jobs.run.runner import run_analysis

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / ".venv" / "peers" / "bin" / "python"
PATHDATA = os.environ.get("SLUICE_PATHDATA", "")
COLUMNS = {
    "conversions": "total_conversions",
    "value_minor": "total_conversion_value",
    "nulls": "total_null",
}
CHANNELS = ("search", "social", "email", "direct", "referral", "video")

HEURISTICS = """
import json, sys
import pandas
from ChannelAttribution import heuristic_models
data = pandas.read_csv(sys.argv[1], sep=";")
found = heuristic_models(data, "path", "total_conversions", var_value="total_conversion_value", flg_pro=False)
print("RESULT" + found.to_json(orient="records"))
"""
MARKOV = """
import sys
import pandas
from ChannelAttribution import markov_model
data = pandas.read_csv(sys.argv[1], sep=";")
found = markov_model(
    data, "path", "total_conversions", var_value="total_conversion_value", var_null="total_null",
    order=int(sys.argv[2]), nsim_start=2_000_000, max_step=1000, seed=1, flg_pro=False, out_more=True,
)
print("RESULT" + found["result"].to_json(orient="records"))
"""
RANKDATA = """
import json, sys
from scipy.stats import rankdata
values = json.load(open(sys.argv[1]))
names = ("min", "max", "dense", "average", "ordinal")
print("RESULT" + json.dumps({name: rankdata([-v for v in values], name).tolist() for name in names}))
"""
WILSON = """
import json, sys
from statsmodels.stats.proportion import proportion_confint
pairs = json.load(open(sys.argv[1]))
print("RESULT" + json.dumps([proportion_confint(u, u + d, method="wilson")[0] for u, d in pairs]))
"""

#: Figures of the definitions, for PathData.
FIRST = {
    "alpha": 6308, "iota": 4606, "eta": 3164, "beta": 2831, "theta": 1606, "lambda": 902,
    "gamma": 165, "epsilon": 99, "kappa": 74, "zeta": 27, "mi": 2, "delta": 1,
}  # fmt: skip
LAST = {
    "alpha": 8447, "eta": 4167, "iota": 3355, "lambda": 1207, "beta": 989, "theta": 653,
    "epsilon": 531, "kappa": 230, "zeta": 107, "gamma": 92, "delta": 5, "mi": 2,
}  # fmt: skip
LINEAR = {
    "alpha": 7574.718594, "iota": 3857.096221, "eta": 3539.951157, "beta": 2083.500145,
    "lambda": 1035.257572, "theta": 1022.801394,
}  # fmt: skip
EFFECTS = {
    "alpha": 0.558399, "iota": 0.405835, "eta": 0.349026, "beta": 0.264039, "theta": 0.206010,
    "lambda": 0.134022, "epsilon": 0.062639, "zeta": 0.039811, "kappa": 0.028663, "gamma": 0.017880,
    "delta": 0.000482, "mi": 0.000180,
}  # fmt: skip
CREDITS = {
    "alpha": 5344.948, "iota": 3884.615, "eta": 3340.847, "beta": 2527.352, "theta": 1971.913,
    "lambda": 1282.847, "epsilon": 599.571, "zeta": 381.063, "kappa": 274.363, "gamma": 171.145,
}  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Any:
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


def seeded_paths(folder: Path, rows: int) -> Path:
    """Paths with repeats, single touches and lost ones; the same file for both programs."""
    rng = random.Random(2026)  # noqa: S311 - a seed
    file = folder / "paths.csv"
    lines = ["path;total_conversions;total_conversion_value;total_null"]
    for _ in range(rows):
        path = " > ".join(rng.choices(CHANNELS, (6, 4, 3, 3, 2, 1), k=rng.randint(1, 7)))
        count = rng.choice((0, 0, 1, 1, 2, 5))
        lines.append(f"{path};{count};{count * rng.randint(5, 90)};{rng.randint(0, 6)}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def credits_of(engine: DuckEngine, file: Path, **params: Any) -> dict[str, dict[str, dict[str, Any]]]:
    source = Source(files=(file,), names=COLUMNS)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in (
        run_analysis("attribution", engine, {"paths": source}, params).tables["attribution"].to_pylist()
    ):
        found.setdefault(row["model"], {})[row["channel"]] = row
    return found


def test_first_last_and_linear_equal_the_peer_to_the_last_digit(engine: DuckEngine, tmp_path: Path) -> None:
    file = seeded_paths(tmp_path, 3000)
    ours = credits_of(engine, file, models=["first", "last", "linear"])
    theirs = peer(HEURISTICS, str(file))
    assert {row["channel_name"] for row in theirs} == set(ours["first"])
    for row in theirs:
        for model in ours:
            mine = ours[model][row["channel_name"]]
            assert mine["conversions"] == pytest.approx(row[f"{model}_touch_conversions"], rel=1e-9)
            assert mine["value_minor"] == pytest.approx(row[f"{model}_touch_value"], rel=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_the_peers_simulation_comes_close_to_the_exact_solution(
    engine: DuckEngine, tmp_path: Path, order: int
) -> None:
    file = seeded_paths(tmp_path, 3000)
    ours = credits_of(engine, file, models=["markov"], order=order)["markov"]
    theirs = {row["channel_name"]: row for row in peer(MARKOV, str(file), str(order))}
    assert theirs.keys() == ours.keys()
    total = sum(row["conversions"] for row in ours.values())
    value = sum(row["value_minor"] for row in ours.values())
    for channel, row in ours.items():
        assert abs(row["conversions"] - theirs[channel]["total_conversions"]) < 0.004 * total
        assert abs(row["value_minor"] - theirs[channel]["total_conversion_value"]) < 0.004 * value


if PATHDATA:  # a test that cannot run is not there, rather than skipped

    def test_the_published_figures_of_pathdata(engine: DuckEngine) -> None:
        found = credits_of(engine, Path(PATHDATA), models=["first", "last", "linear", "markov", "shapley"])
        for model, wanted in (("first", FIRST), ("last", LAST)):
            assert {channel: row["conversions"] for channel, row in found[model].items()} == wanted
        for channel, conversions in LINEAR.items():
            assert found["linear"][channel]["conversions"] == pytest.approx(conversions, abs=5e-7)
        for channel, effect in EFFECTS.items():
            assert found["markov"][channel]["removal_effect"] == pytest.approx(effect, abs=5.1e-7)
        for channel, conversions in CREDITS.items():
            assert found["markov"][channel]["conversions"] == pytest.approx(conversions, abs=5.1e-4)
        for rows in found.values():
            assert sum(row["conversions"] for row in rows.values()) == pytest.approx(19_785, rel=1e-9)
            assert sum(row["value_minor"] for row in rows.values()) == pytest.approx(74_802.9716, abs=1e-4)


def test_ties_equal_those_of_scipy(engine: DuckEngine, tmp_path: Path) -> None:
    rng = random.Random(7)  # noqa: S311 - a seed
    values = [rng.choice((0.5, 1.0, 1.5, -2.0, 7.0)) for _ in range(60)]
    names = [f"i{number:02}" for number in range(len(values))]
    (tmp_path / "values.json").write_text(json.dumps(values), encoding="utf-8")
    theirs = peer(RANKDATA, str(tmp_path / "values.json"))
    items = tmp_path / "items.csv"
    items.write_text(
        "item,value\n" + "".join(f"{n},{v}\n" for n, v in zip(names, values, strict=True)), encoding="utf-8"
    )
    rows = run_analysis("ranking", engine, {"items": items}).tables["ranking"].to_pylist()
    columns = {
        "rank": "min",
        "rank_max": "max",
        "dense_rank": "dense",
        "avg_rank": "average",
        "ordinal": "ordinal",
    }
    for row in rows:
        place = names.index(row["item"])
        assert {name: row[name] for name in columns} == {
            name: theirs[method][place] for name, method in columns.items()
        }


def test_the_wilson_bound_equals_that_of_statsmodels(engine: DuckEngine, tmp_path: Path) -> None:
    rng = random.Random(8)  # noqa: S311 - a seed
    pairs = [(rng.randint(0, 50), rng.randint(0, 50)) for _ in range(40)] + [(0, 3), (3, 0), (1000, 1)]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
    theirs = peer(WILSON, str(tmp_path / "pairs.json"))
    items = tmp_path / "items.csv"
    lines = [f"i{number},{ups},{downs}\n" for number, (ups, downs) in enumerate(pairs)]
    items.write_text("item,ups,downs\n" + "".join(lines), encoding="utf-8")
    params = {"metric": "score", "score": "wilson_low"}
    rows = run_analysis("ranking", engine, {"items": items}, params).tables["ranking"].to_pylist()
    for row in rows:
        assert row["metric"] == pytest.approx(theirs[int(row["item"][1:])], abs=1e-9)
