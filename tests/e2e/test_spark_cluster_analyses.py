"""Analyses of the service on a Spark cluster: the driver in its sandbox, the workers outside of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.contracts.spark_driver import CONFIGURATION, QUICK
from tests.faults.live_addon import LiveAddon, gzipped
from tests.object_servers import BUCKET, ObjectServer, moto
from tests.ports import free_base
from tests.spark_cluster import SparkCluster, spark_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("spark"), pytest.mark.timeout(900)]

ROWS = 30_000
FUNNEL = {"steps": ["view", "cart", "buy"], "window": 86_400}
WHOLE = {"events": "SELECT user_id, time, seq, event FROM events WHERE time >= 1700000000"}
COMPUTED = {"events": "SELECT lower(user_id) AS user_id, time, seq, event FROM events"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def bucket() -> Iterator[ObjectServer]:
    with moto(free_base()) as server:
        yield server


def configuration(folder: Path) -> str:
    """What an operator would write for a cluster as small as this one."""
    folder.mkdir()
    quiet = CONFIGURATION / "log4j2.properties"
    (folder / quiet.name).write_text(quiet.read_text())
    text = f"spark.executor.memory 512m\nspark.executor.extraJavaOptions {QUICK}\n"
    (folder / "spark-defaults.conf").write_text(text)
    return str(folder)


@pytest.fixture(scope="module", params=["folder", "bucket"])
def addon(
    request: pytest.FixtureRequest,
    cluster: SparkCluster,
    bucket: ObjectServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LiveAddon]:
    home = tmp_path_factory.mktemp(request.param) / "home"
    place = bucket.place(request.param)
    store = {
        "SLUICE_ADDON_STORE_URL": f"s3://{BUCKET}/{request.param}",
        "SLUICE_ADDON_STORE_ENDPOINT": bucket.url,
        "SLUICE_ADDON_STORE_REGION": str(place.region),
        "SLUICE_ADDON_STORE_ACCESS_KEY": str(place.access_key),
        "SLUICE_ADDON_STORE_SECRET_KEY": str(place.secret_key),
        "SLUICE_ADDON_STORE_ALLOW_HTTP": "true",
    }
    spark = {
        "SLUICE_SPARK_MASTER": cluster.url,
        "SLUICE_SPARK_SHARED": str(home / "addon" / "warehouse"),
        "SPARK_CONF_DIR": configuration(home.parent / "spark"),
    }
    running = LiveAddon(home, **spark, **(store if request.param == "bucket" else {}))
    running.start()
    running.make_table("shop", "events")
    rows = [
        {
            "time": 1_700_000_000 + n * 37 % 900_000,
            "user_id": f"u{n * 7919 % 1500}",
            "seq": n,
            "event": ("view", "cart", "view", "buy")[n * 31 % 4],
        }
        for n in range(ROWS)
    ]
    with running.http() as http:
        for begin in range(0, ROWS, ROWS // 3):
            body = gzipped(rows[begin : begin + ROWS // 3])
            http.put("/v3/table/import/shop/events/msgpack.gz", content=body).raise_for_status()
    yield running
    running.stop()


def begin(http: httpx.Client, engine: str, inputs: dict[str, str]) -> str:
    asked = {"database": "shop", "inputs": inputs, "params": FUNNEL, "engine": engine}
    answer = http.post("/sluice/v1/analyses/funnel", json=asked)
    assert answer.is_success, answer.text
    return str(answer.json()["job_id"])


def ended(http: httpx.Client, job: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": "queued"}
    while shown["status"] in {"queued", "running"}:
        shown = http.get(f"/sluice/v1/analyses/{job}", params={"wait": "20"}).json()
    return shown


@pytest.mark.parametrize("inputs", [WHOLE, COMPUTED], ids=["whole", "computed"])
def test_the_cluster_answers_as_duckdb_does(
    addon: LiveAddon, cluster: SparkCluster, inputs: dict[str, str]
) -> None:
    with addon.http() as http:
        one, other = (ended(http, begin(http, engine, inputs)) for engine in ("duckdb", "spark"))
    assert (one["status"], other["status"]) == ("success", "success"), (one, other)
    assert other["manifest"]["result_hash"] == one["manifest"]["result_hash"]
    assert other["manifest"]["engine"] == "spark"
    assert other["manifest"]["rows_in"] == one["manifest"]["rows_in"] == {"events": ROWS}
    entry = other["manifest"]["inputs"]["events"]
    assert ("version" in entry) == (inputs is WHOLE)
    assert entry["tables"] == one["manifest"]["inputs"]["events"]["tables"]
    cluster.await_no_application()
    said = addon.log.read_text() + str(other)
    assert [secret for secret in ("testtest", "X-Amz") if secret in said] == []


def test_killing_the_job_ends_the_application(addon: LiveAddon, cluster: SparkCluster) -> None:
    with addon.http() as http:
        job = begin(http, "spark", WHOLE)
        cluster.await_state(lambda state: state.get("coresused"))
        http.post(f"/v3/job/kill/{job}").raise_for_status()
        assert ended(http, job)["status"] == "killed"
    cluster.await_no_application()
    deadline = time.monotonic() + 30
    while left := [line for line in commands() if "jobs run funnel" in line and str(addon.home) in line]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def commands() -> list[str]:
    """Return the command lines of all processes."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def test_a_cluster_that_is_away_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    alone = LiveAddon(tmp_path / "home", SLUICE_SPARK_MASTER=f"spark://127.0.0.1:{free_base()}")
    alone.start()
    try:
        with alone.http() as http:
            http.post("/v3/database/create/shop").raise_for_status()
            found = ended(
                http, begin(http, "spark", {"events": "SELECT 'a' AS user_id, 1 AS time, 'view' AS event"})
            )
    finally:
        alone.stop()
    assert found["status"] == "error"
    assert "cannot be reached" in str(found["error"])
    assert "duckdb" in str(found["error"])
