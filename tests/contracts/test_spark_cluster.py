"""A standalone Spark cluster, two workers in processes of their own, answers as DuckDB does.

From a pinned version of a table on a shared file system and in an S3-compatible store, and from files that
only the driver sees.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from addon.warehouse.objects.s3 import S3Objects
from jobs.contracts.errors import EngineError
from jobs.registry import names
from jobs.run.runner import run_analysis
from tests.contracts import test_engines_agree_credits as credits_agree
from tests.contracts import test_engines_agree_customers as customers_agree
from tests.contracts import test_journeys_agree as journeys_agree
from tests.contracts.engines import same
from tests.contracts.pinned_tables import as_files, as_objects, aws, commit, fill, pin
from tests.contracts.spark_driver import QUICK, Outcome, SparkDriver
from tests.object_servers import ObjectServer, moto
from tests.ports import free_base
from tests.spark_cluster import SparkCluster, spark_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobs.engines.duck import DuckEngine

pytestmark = [pytest.mark.xdist_group("spark"), pytest.mark.timeout(900)]

SETTINGS = {
    "spark.executor.memory": "512m",
    "spark.executor.cores": "1",
    "spark.cores.max": "2",
    "spark.driver.memory": "512m",
    "spark.executor.extraJavaOptions": QUICK,
}
SECRETS = ("testtest", "X-Amz-Signature", "X-Amz-Credential")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the executors see, too."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(tmp_path_factory.mktemp("cluster"), cores=2) as running:
        yield running


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectServer]:
    with moto(free_base()) as server:
        yield server


@pytest.fixture(scope="module")
def driver(
    cluster: SparkCluster, store: ObjectServer, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SparkDriver]:
    environment = {"SLUICE_SPARK_MASTER": cluster.url, "SLUICE_SPARK_SHARED": str(shared), **aws(store)}
    with SparkDriver(tmp_path_factory.mktemp("driver"), SETTINGS, **environment) as running:
        yield running


def agree(
    duck: DuckEngine, found: Outcome, name: str, inputs: Mapping[str, Any], params: dict[str, Any]
) -> None:
    """Hold a run's outcome against DuckDB's on the same rows."""
    assert found.error == ""
    expected = run_analysis(name, duck, inputs, params)
    assert expected.tables.keys() == found.tables.keys()
    assert any(table.num_rows for table in expected.tables.values())
    for output, table in expected.tables.items():
        for left, right in zip(table.to_pylist(), found.tables[output].to_pylist(), strict=True):
            assert all(same(left[key], right[key]) for key in left), (output, left, right)
    assert found.manifest["result_hash"] == expected.manifest["result_hash"]
    assert found.manifest["rows_excluded"] == expected.manifest["rows_excluded"]


def events() -> pa.Table:
    """Journeys' events, with prices that are whole at first and then are not."""
    table = journeys_agree.tables()["events"]
    prices = [
        price if price is None or n % 4 < 2 else price + 0.5
        for n, price in enumerate(table["price"].to_pylist())
    ]
    place = table.schema.get_field_index("price")
    return table.set_column(place, "price", pa.array(prices, pa.float64()))


FIRST, LAST = journeys_agree.START, journeys_agree.START + 5 * journeys_agree.DAY - 1
BOUNDS = f"time >= {FIRST} AND time <= {LAST}"
EVENTS = f"SELECT user_id, time, seq, event, price, breakdown FROM events WHERE {BOUNDS}"  # noqa: S608 (our own)
ITEMS = f"SELECT event AS item, price AS value FROM events WHERE {BOUNDS}"  # noqa: S608 (our own)


def known() -> pa.Table:
    """The rows of the pinned version within the bounds."""
    rows = [row for row in events().to_pylist() if FIRST <= row["time"] <= LAST]
    return pa.Table.from_pylist(rows, schema=events().schema)


def pinned_then_changed(objects: Any, sql: str, document: Path, shared: Path) -> None:
    """Fill a table, pin it, and go on writing."""
    warehouse = fill(objects, events().to_pylist())
    assert pin(warehouse, sql, document, SLUICE_SPARK_SHARED=str(shared))
    commit(warehouse, 99, [{"user_id": "late", "time": FIRST + 1, "seq": 1, "event": "view", "price": 99.0}])


def test_a_pinned_version_in_a_shared_folder_is_read_by_path(
    duck: DuckEngine, driver: SparkDriver, shared: Path, tmp_path: Path
) -> None:
    document = tmp_path / "items.snapshot.json"
    pinned_then_changed(shared / "warehouse", ITEMS, document, shared)
    assert '"file:///' in document.read_text()
    items = known().select(["event", "price"]).rename_columns(["item", "value"])
    agree(duck, driver.run("ranking", {"items": document}, {}), "ranking", {"items": items}, {})


def test_a_pinned_version_in_a_bucket_is_read_by_signed_address(
    duck: DuckEngine, driver: SparkDriver, store: ObjectServer, shared: Path, tmp_path: Path
) -> None:
    document = tmp_path / "events.snapshot.json"
    objects = S3Objects(store.place("shop"), tmp_path / "cache", 1 << 24)
    pinned_then_changed(objects, EVENTS, document, shared)
    objects.close()
    assert '"file:///' not in document.read_text()
    params = {"steps": ["view", "cart"], "window": journeys_agree.DAY}
    agree(duck, driver.run("funnel", {"events": document}, params), "funnel", {"events": known()}, params)
    assert [secret for secret in SECRETS if secret in driver.said()] == []


def test_files_that_only_the_driver_sees_are_sent_along(
    duck: DuckEngine, driver: SparkDriver, tmp_path: Path
) -> None:
    tables = {"transactions": customers_agree.tables("rfm")["transactions"]}
    agree(duck, driver.run("rfm", as_files(tables, tmp_path / "own"), {}), "rfm", tables, {})


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_whole_journey_is_the_same_from_either_store(  # noqa: PLR0917 (fixtures)
    duck: DuckEngine, driver: SparkDriver, store: ObjectServer, shared: Path, tmp_path: Path, where: str
) -> None:
    bucket = S3Objects(store.place("journey"), tmp_path / "cache", 1 << 24)
    document = tmp_path / "events.snapshot.json"
    pinned_then_changed(shared / "journey" if where == "folder" else bucket, EVENTS, document, shared)
    bucket.close()
    params = journeys_agree.FUNNEL
    agree(duck, driver.run("funnel", {"events": document}, params), "funnel", {"events": known()}, params)


def cases() -> Iterator[tuple[str, dict[str, pa.Table], dict[str, Any]]]:
    """One case of every analysis, and two of those with kernels."""
    journeys = journeys_agree.tables()
    for name, params in (*journeys_agree.QUICK, journeys_agree.LONG[6], journeys_agree.LONG[-3]):
        yield name, journeys, params
    for number in (0, 1, 6, 7):
        name, given, params, _ = credits_agree.CASES[number]
        known = credits_agree.tables(name)
        yield name, {table: known[table] for table in given}, params
    for name, given, params, fast in customers_agree.CASES:
        if fast or params.get("end") or name in {"churn", "customer_summary", "rfm"}:
            known = customers_agree.tables(name)
            yield name, {one.partition("=")[0]: known[one.partition("=")[2] or one] for one in given}, params


CASES = list(cases())


def test_the_cases_leave_no_analysis_out() -> None:
    assert {name for name, _, _ in CASES} == set(names())


@pytest.mark.slow
@pytest.mark.parametrize("where", ["folder", "bucket"])
@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[f"{name}-{n}" for n, (name, _, _) in enumerate(CASES)]
)
def test_every_analysis_on_the_cluster_gives_what_duckdb_gives(  # noqa: PLR0917 (fixtures)
    duck: DuckEngine,
    driver: SparkDriver,
    store: ObjectServer,
    shared: Path,
    tmp_path: Path,
    number: int,
    where: str,
) -> None:
    name, tables, params = CASES[number]
    title = f"{name}-{number}"
    inputs = (
        as_files(tables, shared / title) if where == "folder" else as_objects(tables, store, tmp_path / title)
    )
    agree(duck, driver.run(name, inputs, params), name, tables, params)


@pytest.mark.slow
def test_csv_that_only_the_driver_sees_is_sent_along(
    duck: DuckEngine, driver: SparkDriver, tmp_path: Path
) -> None:
    file = tmp_path / "paths.csv"
    file.write_text(
        'path,conversions,value_minor\n"a > ""b""\n",7,70\nb,,\n,2,3\n"c; d",1,5\n', encoding="utf-8"
    )
    agree(duck, driver.run("attribution", {"paths": file}, {}), "attribution", {"paths": file}, {})


@pytest.mark.slow
def test_a_bad_file_is_an_error_of_the_input_in_one_line(driver: SparkDriver, tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_text("no Parquet")
    found = driver.run("ranking", {"items": tmp_path / "items.parquet"}, {})
    assert "cannot read" in found.error
    assert "items.parquet" in found.error


@pytest.mark.slow
def test_a_signature_that_has_ended_is_said_without_the_address(
    driver: SparkDriver, store: ObjectServer, tmp_path: Path
) -> None:
    documents = as_objects({"items": pa.table({"item": ["a"], "value": [1]})}, store, tmp_path / "gone")
    text = documents["items"].read_text()
    documents["items"].write_text(text.replace("items-0-", "other-0-"))
    found = driver.run("ranking", documents, {})
    assert "items-0.parquet: the object store answers 404" in found.error
    assert [secret for secret in SECRETS if secret in found.error + driver.said()] == []


def many(rows: int) -> dict[str, pa.Table]:
    """Enough events for a run of many seconds."""
    rng = np.random.default_rng(5)
    return {
        "events": pa.table(
            {
                "user_id": np.char.add("u", rng.integers(0, rows // 20, rows).astype(str)),
                "time": rng.integers(1_700_000_000, 1_702_592_000, rows),
                "seq": np.arange(rows),
                "event": np.array(["view", "cart", "purchase"])[rng.integers(0, 3, rows)],
            }
        )
    }


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_time_and_no_rows(
    duck: DuckEngine, driver: SparkDriver, cluster: SparkCluster, shared: Path
) -> None:
    tables, params = many(400_000), {"steps": ["view", "cart", "purchase"], "window": 86_400}
    inputs = as_files(tables, shared / "many")
    before = shuffled(cluster, "worker2")
    out = driver.ask("funnel", inputs, params)
    deadline = time.monotonic() + 300
    while shuffled(cluster, "worker2") <= before:  # what that worker has computed for others is lost with it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cluster.kill("worker2")
    try:
        agree(duck, driver.outcome(out), "funnel", tables, params)
    finally:
        cluster.start_worker(2)
        cluster.await_workers(2)


def shuffled(cluster: SparkCluster, worker: str) -> set[Path]:
    """Return the files that a worker's executors keep for others."""
    return set((cluster.folder / worker).rglob("shuffle_*.data"))


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_nothing_running(
    cluster: SparkCluster, shared: Path, tmp_path: Path
) -> None:
    environment = {"SLUICE_SPARK_MASTER": cluster.url, "SLUICE_SPARK_SHARED": str(shared)}
    settings = SETTINGS | {"spark.cores.max": "1", "spark.executor.memory": "480m"}
    inputs = as_files(many(400_000), shared / "killed")
    with SparkDriver(tmp_path, settings, **environment) as doomed:
        doomed.ask("funnel", inputs, {"steps": ["view", "cart"], "window": 86_400})
        cluster.await_state(
            lambda state: any(app["memoryperexecutor"] == 480 for app in state.get("activeapps", ()))
        )
        os.kill(doomed.process.pid, signal.SIGKILL)
        doomed.process.wait(30)
    cluster.await_state(
        lambda state: state and all(app["memoryperexecutor"] != 480 for app in state["activeapps"])
    )


@pytest.mark.slow
def test_a_cluster_without_room_is_an_error_after_the_set_time(cluster: SparkCluster, tmp_path: Path) -> None:
    environment = {"SLUICE_SPARK_MASTER": cluster.url, "SLUICE_SPARK_WAIT_S": "5"}
    items = as_files({"items": pa.table({"item": ["a"], "value": [1]})}, tmp_path / "in")
    with SparkDriver(tmp_path, SETTINGS | {"spark.executor.memory": "64g"}, **environment) as hungry:
        found = hungry.run("ranking", items, {})
    assert "gave no executor within 5 s" in found.error
    assert "SLUICE_SPARK_WAIT_S" in found.error


def test_a_master_that_is_away_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.engines.spark import SparkEngine  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("SLUICE_SPARK_MASTER", f"spark://127.0.0.1:{port}")
    begun = time.monotonic()
    with pytest.raises(EngineError, match="cannot be reached"):
        SparkEngine()
    assert time.monotonic() - begun < 30


@pytest.mark.usefixtures("spark")
def test_a_process_has_one_spark_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.engines.spark import SparkEngine  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"spark://127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("SLUICE_SPARK_MASTER", url)
        with pytest.raises(EngineError, match=r"Spark runs on local\[2\] in this process"):
            SparkEngine()
    with pytest.raises(EngineError, match="cannot be reached"):
        SparkEngine()
