"""Funnels, paths and sessions against independent programs: ClickHouse, and retentioneering beside it.

Where a peer's definition is another one, the data are such that both must agree, and the test says why.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import subprocess
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from jobs.engines.duck import DuckEngine
from jobs.run.runner import run_analysis

pytestmark = pytest.mark.slow

PEERS = Path(__file__).parents[2] / ".venv" / "peers" / "bin" / "python"
STEPS = ("view", "cart", "checkout", "buy")
START = 1_700_000_000

JOURNEYS = """
import json, sys
import pandas
from retentioneering.eventstream.eventstream import Eventstream
from retentioneering.tools.transition_matrix import TransitionMatrix
from retentioneering.tools.step_matrix import StepMatrix
from retentioneering.tools.funnel import Funnel
source, steps, timeout, length = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
data = pandas.read_parquet(source)
data["timestamp"] = pandas.to_datetime(data["time"], unit="s")
data = data[["user_id", "event", "timestamp"]]
seconds = lambda value: value.total_seconds() if isinstance(value, pandas.Timedelta) else float(value)
stream = Eventstream(data)
sessions = stream.split_sessions(timeout=timeout)
matrix = lambda values, path: TransitionMatrix(sessions).fit(values, path_col=path)
found = {}
for name in ("count", "unique_paths", "proba_out", "proba_in", "time_median", "time_q95"):
    wide = matrix(name, "session_id")
    found[name] = [
        [source, target, None if pandas.isna(value) else seconds(value)]
        for source, row in wide.to_dict(orient="index").items()
        for target, value in row.items()
    ]
(steps_of,) = StepMatrix(sessions).fit(length, path_col="session_id")
found["steps"] = [
    [event, int(step), float(value)]
    for event, row in steps_of.to_dict(orient="index").items()
    for step, value in row.items()
]
found["funnel"] = [step["unique_paths"] for step in Funnel(sessions).fit(steps, path_col="user_id")["steps"]]
found["by_session"] = [
    step["unique_paths"] for step in Funnel(sessions).fit(steps, path_col="session_id")["steps"]
]
found["sessions"] = int(sessions.df["session_id"].nunique())
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
        [str(PEERS), "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=os.environ | {"RETENTIONEERING_NO_TRACK": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("RESULT")[2])


def clickhouse(sql: str) -> list[list[str]]:
    chdb = importlib.import_module("chdb")
    return [line.replace('"', "").split(",") for line in str(chdb.query(sql, "CSV")).splitlines()]


def write(folder: Path, rows: list[tuple[str, int, int, str]]) -> Path:
    file = folder / "events.parquet"
    names = ("user_id", "time", "seq", "event")
    pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), file)
    return file


def seeded(folder: Path, *, users: int, span: int, events: tuple[str, ...], ties: bool = True) -> Path:
    """A dozen events a user; with ties, many of them in one second."""
    rng = random.Random(2026)  # noqa: S311 - a seed
    rows, seq = [], 0
    for user in range(users):
        count = rng.randint(1, 14)
        offsets = [rng.randint(0, span) for _ in range(count)] if ties else rng.sample(range(span), count)
        for offset in sorted(offsets):
            seq += 1
            rows.append((f"u{user}", START + offset, seq, rng.choice(events)))
    return write(folder, rows)


def levels(engine: DuckEngine, file: Path, **params: Any) -> list[int]:
    table = run_analysis("funnel", engine, {"events": file}, {"steps": list(STEPS)} | params).tables["funnel"]
    return [int(count) for count in table.column("entities").to_pylist()]


def window_funnel(file: Path, window: int, *modes: str) -> list[int]:
    """The peer's levels. Its times are unsigned, and it wants some window."""
    conditions = ", ".join(f"event = '{step}'" for step in STEPS)
    extra = "".join(f", '{mode}'" for mode in modes)
    level = f"windowFunnel({window}{extra})(toUInt64(assumeNotNull(time)), {conditions})"
    sql = (
        f"SELECT level, count() FROM (SELECT {level} AS level FROM file('{file}', Parquet) GROUP BY user_id)"  # noqa: S608 - fixed text
        " WHERE level > 0 GROUP BY level"
    )
    found = {int(level): int(count) for level, count in clickhouse(sql)}
    return [
        sum(count for level, count in found.items() if level >= step) for step in range(1, len(STEPS) + 1)
    ]


@pytest.mark.parametrize("window", [0, 5, 60, 10_000])
def test_the_funnel_that_may_fill_steps_in_one_second_equals_clickhouses_default(
    engine: DuckEngine, tmp_path: Path, window: int
) -> None:
    file = seeded(tmp_path, users=3_000, span=90, events=(*STEPS, "other"))
    assert levels(engine, file, window=window, ties="step") == window_funnel(file, window)


@pytest.mark.parametrize("window", [5, 60, 10_000])
def test_the_increasing_funnel_equals_clickhouses_where_no_two_events_share_a_second(
    engine: DuckEngine, tmp_path: Path, window: int
) -> None:
    file = seeded(tmp_path, users=3_000, span=90, events=(*STEPS, "other"), ties=False)
    wanted = window_funnel(file, window, "strict_increase")
    assert levels(engine, file, window=window, ties="increase") == wanted
    assert levels(engine, file, window=window, ties="seq") == wanted


def test_with_ties_clickhouses_increasing_funnel_never_counts_more(
    engine: DuckEngine, tmp_path: Path
) -> None:
    """It loses a chain when a repeated earlier step shares the next one's second; ours has another start."""
    file = seeded(tmp_path, users=3_000, span=20, events=STEPS)
    ours, theirs = (
        levels(engine, file, window=15, ties="increase"),
        window_funnel(file, 15, "strict_increase"),
    )
    assert all(mine >= other for mine, other in zip(ours, theirs, strict=True))
    assert ours != theirs, "else this test shows nothing"


def test_the_strict_funnel_equals_clickhouses_strict_order_where_each_event_comes_once(
    engine: DuckEngine, tmp_path: Path
) -> None:
    """Its strict_order forgives a repeat of an earlier step, ours wants neighbours: so nobody repeats one."""
    rng = random.Random(4)  # noqa: S311 - a seed
    rows = []
    for user in range(2_000):
        chosen = rng.sample((*STEPS, "other", "help"), rng.randint(1, 6))
        chosen = chosen[chosen.index("view") :] if "view" in chosen else chosen
        rows += [(f"u{user}", START + place * 7, place, event) for place, event in enumerate(chosen)]
    file = write(tmp_path, rows)
    theirs = window_funnel(file, 1_000, "strict_order")
    assert levels(engine, file, window=1_000, mode="strict") == theirs
    assert theirs[2] > 0


def test_the_unordered_funnel_equals_clickhouses_retention(engine: DuckEngine, tmp_path: Path) -> None:
    """`retention(a, b)` asks for both in any order, as an unordered funnel without a window does."""
    file = seeded(tmp_path, users=3_000, span=90, events=(*STEPS, "other"))
    for first, second in (("view", "buy"), ("buy", "cart")):
        kept = f"retention(event = '{first}', event = '{second}')"
        users = f"SELECT user_id, {kept} AS r FROM file('{file}', Parquet) GROUP BY user_id"  # noqa: S608 - fixed text
        found = clickhouse(f"SELECT sum(r[1]), sum(r[2]) FROM ({users})")  # noqa: S608 - likewise
        with_first, with_both = map(int, found[0])
        ours = levels(engine, file, steps=[first, second], mode="unordered", window=None)
        assert ours[1] == with_both
        assert levels(engine, file, steps=[first], window=None) == [with_first]


def assert_journeys_equal(engine: DuckEngine, file: Path, found: Any, timeout: int, length: int) -> None:
    params = {"collapse": "none", "max_length": length, "timeout": timeout}
    tables = run_analysis("paths", engine, {"events": file}, params).tables
    moves = {(row["source"], row["target"]): row for row in tables["transitions"].to_pylist()}
    for name, column in (
        ("count", "count"),
        ("unique_paths", "entities"),
        ("proba_out", "p_out"),
        ("proba_in", "p_in"),
    ):
        theirs = {(source, target): value for source, target, value in found[name] if value}
        assert theirs.keys() == moves.keys()
        for pair, value in theirs.items():
            assert moves[pair][column] == pytest.approx(value, rel=1e-9), (name, pair)
    for name, column in (("time_median", "median_s"), ("time_q95", "p95_s")):
        for source, target, value in found[name]:
            if source != "path_start" and target != "path_end" and (source, target) in moves:
                assert moves[source, target][column] == pytest.approx(value, rel=1e-9), (name, source, target)
    matrix = {(row["event"], row["step"]): row["share"] for row in tables["step_matrix"].to_pylist()}
    for event, step, share in found["steps"]:
        assert matrix.get((event, step), 0.0) == pytest.approx(share, rel=1e-9, abs=1e-12), (event, step)
    assert sum(matrix.values()) == pytest.approx(length + 1)
    sessions = run_analysis("sessions", engine, {"events": file}, {"timeout": timeout}).tables["sessions"]
    assert sessions.num_rows == found["sessions"]


def test_transitions_steps_and_sessions_equal_retentioneerings(engine: DuckEngine, tmp_path: Path) -> None:
    """No two events of a user share a second: the peer knows no order inside one."""
    file = seeded(tmp_path, users=800, span=4_000, events=(*STEPS, "other"), ties=False)
    found = peer(JOURNEYS, str(file), json.dumps(STEPS), "600s", "6")
    assert_journeys_equal(engine, file, found, 600, 6)
    assert levels(engine, file, window=None) == found["funnel"]
    assert levels(engine, file, window=None, entity="session", timeout=600) == found["by_session"]


def test_the_peers_own_shop_gives_its_published_funnel_and_its_matrices(
    engine: DuckEngine, tmp_path: Path
) -> None:
    """`ecom` of retentioneering 5, read where the peer is installed."""
    (packed,) = PEERS.parents[1].glob("lib/*/site-packages/retentioneering/datasets/ecom.csv.gz")
    data = pacsv.read_csv(packed)
    order = pc.sort_indices(data, [("user_id", "ascending"), ("timestamp", "ascending")])
    rows = data.take(order).select(["user_id", "timestamp", "event"]).to_pylist()
    times = [int(row["timestamp"].replace(tzinfo=UTC).timestamp()) for row in rows]
    file = write(
        tmp_path,
        [
            (str(row["user_id"]), time, seq, row["event"])
            for seq, (row, time) in enumerate(zip(rows, times, strict=True))
        ],
    )
    steps = ["product_view", "add_to_cart", "cart", "shipping_details", "payment_details"]
    found = peer(JOURNEYS, str(file), json.dumps(steps), "1800s", "8")
    assert found["funnel"] == [598, 517, 429, 329, 222]
    assert levels(engine, file, steps=steps, window=None) == found["funnel"]
    assert_journeys_equal(engine, file, found, 1800, 8)
