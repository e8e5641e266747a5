"""Analyses as jobs of a real add-on: progress, kill, results by td-client, SQL on runs, repetition, usage."""

# ruff: noqa: S608  # the texts are of these tests

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgpack
import pyarrow as pa
import pytest

from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
VIEWS: list[dict[str, Any]] = [
    {
        "time": 1_700_000_000,
        "at": 1_700_000_000 + 60 * n,
        "n": n,
        "visitor": f"v{n % 7}",
        "page": "abc"[n % 3],
    }
    for n in range(60)
]
BAD: list[dict[str, Any]] = [
    {"time": 1_700_000_000, "at": 1_700_000_000, "n": 100, "visitor": None, "page": "a"},
    {"time": 1_700_000_000, "at": 1_700_000_000, "n": 101, "visitor": "v1", "page": None},
    {"time": 1_700_000_000, "at": 300_000_000_000, "n": 102, "visitor": "v1", "page": "a"},
]
MANY = (
    "SELECT 'u' || (i % 200000) AS user_id, 1700000000 + i AS time, i AS seq, 'e' || (i % 50) AS event"
    " FROM range(3000000) t(i)"
)
EVENTS = {
    "table": "shop.views",
    "columns": {"user_id": "visitor", "time": "at", "seq": "n", "event": "page"},
}


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(tmp_path_factory.mktemp("home"), free_base())
    client = running.client()
    client.create_database("shop")
    client.create_log_table("shop", "views")
    _import(running, VIEWS + BAD)
    yield running
    stop(running)


@pytest.fixture(scope="module")
def http(addon: Running) -> Iterator[httpx.Client]:
    with addon.http() as client:
        yield client


def _import(addon: Running, rows: list[dict[str, Any]]) -> None:
    body = gzip.compress(b"".join(msgpack.packb(row) for row in rows))
    addon.client().import_data("shop", "views", "msgpack.gz", io.BytesIO(body), len(body))


def _wait(job: Any) -> None:
    """Wait for a job; td-client's own pauses are whole seconds."""
    while not job.finished():
        time.sleep(0.05)


def _start(http: httpx.Client, name: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    made = http.post(f"/api/analyses/{name}/runs", json=body, headers=headers)
    assert made.status_code in {200, 201}, made.text
    assert made.headers["location"] == f"/api/analyses/{name}/runs/{made.json()['run']}"
    shown: dict[str, Any] = made.json()
    return shown


def _ended(http: httpx.Client, name: str, run: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": "queued"}
    while shown["status"] in {"queued", "running"}:
        shown = http.get(f"/api/analyses/{name}/runs/{run}", params={"wait": "30"}).json()
    return shown


@pytest.fixture(scope="module", autouse=True)
def paths_run(http: httpx.Client) -> dict[str, Any]:
    """A run of `paths` on the table, bad rows and all; before any test changes it."""
    run = _start(http, "paths", {"database": "shop", "tables": {"events": EVENTS}})["run"]
    shown = _ended(http, "paths", run)
    assert (shown["status"], shown["error"]) == ("success", None)
    return shown


def test_bad_rows_are_excluded_and_counted_in_the_manifest(
    http: httpx.Client, paths_run: dict[str, Any]
) -> None:
    manifest = http.get(f"/api/analyses/paths/runs/{paths_run['run']}/manifest").json()
    assert manifest == paths_run["manifest"]
    assert manifest["rows_in"] == {"events": 63}
    assert manifest["rows_excluded"] == {
        "events": {"null_user_id": 1, "null_event": 1, "time_out_of_range": 1}
    }


def test_the_result_of_an_analysis_is_a_jobs_result_in_every_format(
    addon: Running, http: httpx.Client, paths_run: dict[str, Any]
) -> None:
    job = addon.client().job(paths_run["run"])
    assert (job.status(), job.type, job.query) == ("success", "analysis", "analysis paths")
    rows: list[Any] = list(job.result())
    (output,) = [one for one in paths_run["outputs"] if one["name"] == "paths"]
    assert (len(rows), job.num_records) == (output["rows"], output["rows"])
    names = [name for name, _ in job.result_schema or ()]
    assert names[:3] == ["path", "length", "entities"]
    assert list(job.result_format("json")) == rows
    packed = http.get(f"/v3/job/result/{job.id}", params={"format": "msgpack.gz"})
    assert job.result_size == len(packed.content)
    assert list(msgpack.Unpacker(io.BytesIO(gzip.decompress(packed.content)))) == rows
    arrow = http.get(f"/v3/job/result/{job.id}", params={"format": "arrow"}).content
    table = pa.ipc.open_stream(arrow).read_all()
    assert [list(row.values()) for row in table.to_pylist()] == rows
    assert table.schema.field("entities").type == pa.int64()
    text = http.get(f"/v3/job/result/{job.id}", params={"format": "csv", "header": "true"}).text
    assert text.splitlines()[0] == ",".join(names)
    whole = http.get(f"/api/analyses/paths/runs/{job.id}/outputs/paths", params={"format": "json"}).json()
    assert [list(row.values()) for row in whole["rows"]] == rows
    streamed = http.get(f"/api/analyses/paths/runs/{job.id}/outputs/paths", params={"format": "arrow"})
    assert pa.ipc.open_stream(streamed.content).read_all().num_rows == len(rows)
    assert paths_run["run"] in [job.id for job in addon.client().jobs()]


def test_sql_selects_from_a_run_and_joins_it_in_every_dialect(
    addon: Running, http: httpx.Client, paths_run: dict[str, Any]
) -> None:
    (name,) = [one["table"] for one in paths_run["outputs"] if one["name"] == "paths"]
    assert name == f"runs.run_{paths_run['run']}.paths"
    sql = (
        "SELECT count(DISTINCT p.path) AS paths, count(DISTINCT v.visitor) AS visitors"
        f" FROM {name} p JOIN views v ON substr(p.path, 1, 1) = v.page"
    )
    expected = None
    for kind in ("trino", "presto", "hive"):
        job = addon.client().query("shop", sql, type=kind)
        _wait(job)
        rows = list(job.result())
        assert rows == (expected or rows)
        expected = rows
    body = {"sql": sql, "database": "shop", "dialect": "duckdb"}
    assert http.post("/sluice/v1/query", json=body).json()["rows"] == expected
    with addon.platform() as platform:
        made = platform.post(
            "/heroku/resources", json={"uuid": str(uuid.uuid4()), "name": "nosy", "plan": "nano"}
        ).json()
    stranger = {"authorization": f"TD1 {made['config']['TREASURE_DATA_API_KEY']}"}
    refused = httpx.post(
        f"{addon.url}/sluice/v1/query",
        json={"sql": f"SELECT * FROM {name}"},
        headers=stranger,
        timeout=60,
    )
    assert refused.status_code == 404
    for path in ("", "/manifest", "/outputs", "/outputs/paths"):
        got = httpx.get(f"{addon.url}/api/analyses/paths/runs/{paths_run['run']}{path}", headers=stranger)
        assert got.status_code == 404


def test_a_request_that_is_sent_again_starts_no_second_run(
    http: httpx.Client, paths_run: dict[str, Any]
) -> None:
    del paths_run
    body = {"inputs": {"items": "SELECT 'a' AS item, 1.0 AS value"}, "params": {"top": 1}, "priority": 1}

    def send(_: int) -> str:
        return str(_start(http, "ranking", body, **{"idempotency-key": "k1"})["run"])

    with ThreadPoolExecutor(4) as pool:
        runs = set(pool.map(send, range(8)))
    assert len(runs) == 1
    other = http.post(
        "/api/analyses/ranking/runs", json={**body, "params": {"top": 2}}, headers={"idempotency-key": "k1"}
    )
    assert other.status_code == 409
    assert f"started job {runs.pop()}" in other.json()["message"]
    listed = http.get("/api/analyses/ranking/runs").json()
    assert (listed["count"], listed["runs"][0]["priority"]) == (1, 1)


def test_parameters_and_inputs_that_cannot_be_are_refused_in_words(http: httpx.Client) -> None:
    tables = {"tables": {"events": EVENTS}}
    mapped = {"user_id": "visitor", "event": "page", "seq": "number"}
    for name, body, parts in (
        ("paths", {**tables, "params": {"max_length": 0}}, ("max_length", "0", "1 to 1000")),
        ("paths", {**tables, "params": {"collapse": "all"}}, ("collapse", "'all'", "consecutive")),
        ("paths", {**tables, "params": {"nope": 1}}, ("nope", "collapse")),
        ("paths", {**tables, "params": [1]}, ("params", "[1]")),
        ("paths", {**tables, "priority": 3}, ("priority", "-2 to 2", "3")),
        ("paths", {**tables, "tables_": {}}, ("tables_", "There are")),
        ("paths", {"tables": {"events": "shop.views"}}, ("user_id", "shop.views", "visitor")),
        ("paths", {"tables": {"events": {**EVENTS, "columns": mapped}}}, ("seq", "'number'")),
        ("paths", {"tables": {"eventz": EVENTS}}, ("eventz", "events")),
        ("paths", {"database": "shop"}, ("no inputs", "events")),
        ("paths", {**tables, "snapshots": {"shop.views": "x"}}, ("shop.views", '"x"')),
    ):
        refused = http.post(f"/api/analyses/{name}/runs", json=body)
        assert refused.status_code == 422, refused.text
        assert [part for part in parts if part not in refused.json()["message"]] == [], refused.text
    gone = http.post("/api/analyses/paths/runs", json={"tables": {"events": "shop.nothing"}})
    assert gone.status_code == 404
    described = http.get("/api/analyses/paths").json()
    assert "max_length" in [parameter["name"] for parameter in described["parameters"]]
    assert len(http.get("/api/analyses").json()["analyses"]) == 13


def _sluice(addon: Running, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TD_API_SERVER": addon.url, "TD_API_KEY": addon.keys["td_api_key"]}
    return subprocess.run(
        [sys.executable, "-m", "addon.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
        cwd=ROOT,
    )


def test_a_run_is_repeated_after_imports_and_a_delete_and_a_version_that_is_gone_is_told(
    addon: Running, paths_run: dict[str, Any], tmp_path: Path
) -> None:
    _import(addon, [{"at": 1_700_000_000, "time": 1_700_000_000, "n": 200, "visitor": "v9", "page": "z"}])
    job = addon.client().query("shop", "DELETE FROM views WHERE page = 'a'", type="trino")
    _wait(job)
    assert job.success()
    again = _sluice(
        addon, "analyze", "--from-manifest", paths_run["run"], "--out", str(tmp_path), "--progress"
    )
    assert again.returncode == 0, again.stderr
    assert paths_run["manifest"]["result_hash"] in again.stdout
    assert "success" in again.stderr
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["repeats"] == {"result_hash": manifest["result_hash"], "same": True}
    assert manifest["rows_in"] == paths_run["manifest"]["rows_in"]
    refused = _sluice(addon, "analyze", "paths", "--db", "shop", "--params", '{"max_length": "x"}')
    assert refused.returncode == 2
    assert "max_length: 'x' is not allowed" in refused.stderr
    (table,) = manifest["inputs"]["events"]["tables"]
    table["version"] = 999
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    gone = _sluice(addon, "analyze", "--from-manifest", str(tmp_path / "manifest.json"))
    assert gone.returncode == 6
    assert "shop.views has no version 999" in gone.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_analysis_outlives_the_add_on_that_is_killed_once(tmp_path: Path) -> None:
    base, length = free_base(), 976
    running = start(tmp_path, base)
    running.client().create_database("shop")
    with running.http() as http:
        body = {"inputs": {"events": MANY}, "params": {"max_length": length}}
        run = _start(http, "paths", body)["run"]
        _until_computing(http, run)
    running.process.kill()
    running.process.wait()
    assert running.process.stdout is not None
    running.process.stdout.close()
    for _ in range(200):
        if not _processes_of(length):
            break
        time.sleep(0.05)
    assert _processes_of(length) == []
    again = start(tmp_path, base)
    with again.http() as http:
        shown = _ended(http, "paths", run)
        assert (shown["status"], shown["error"]) == ("success", None)
        assert sum(shown["manifest"]["rows_in"].values()) == 3_000_000
    stop(again)


def test_a_running_analysis_tells_how_far_it_is_and_is_killed_with_its_processes(
    addon: Running, http: httpx.Client
) -> None:
    length = 977  # what the processes are known by
    body = {"inputs": {"events": MANY}, "params": {"max_length": length}}
    run = _start(http, "paths", body)["run"]
    _until_computing(http, run)
    assert _processes_of(length)
    assert addon.client().kill(run) == "running"
    assert _ended(http, "paths", run)["status"] == "killed"
    assert _processes_of(length) == []
    assert http.get(f"/v3/job/result/{run}").status_code == 404


def _until_computing(http: httpx.Client, run: str) -> None:
    """Wait until a run says that it computes; look at what it says until then."""
    shown: dict[str, Any] = {"status": "queued", "progress": None}
    while shown["progress"] is None or shown["progress"]["stage"] != "computing":
        assert shown["status"] in {"queued", "running"}, shown
        shown = http.get(f"/v3/job/show/{run}").json()
        if shown["progress"] is not None:
            assert shown["debug"]["cmdout"].startswith(shown["progress"]["stage"])
            assert 0 <= shown["progress"]["percent"] < 100
        time.sleep(0.05)


def _processes_of(length: int) -> list[str]:
    """Return the processes that compute a run with this parameter."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:  # it has just ended
            continue
        if b"jobs\0run\0paths" in words and b'"max_length": %d' % length in words:
            found.append(str(entry))
    return found


def test_an_account_sees_its_own_usage_only(http: httpx.Client) -> None:
    http.post("/sluice/v1/query", json={"sql": "SELECT count(*) FROM views", "database": "shop"})
    run = _start(http, "usage", {})["run"]
    shown = _ended(http, "usage", run)
    assert (shown["status"], shown["error"]) == ("success", None)
    rows = http.get(f"/api/analyses/usage/runs/{run}/outputs/usage", params={"format": "json"}).json()["rows"]
    views = [row for row in rows if (row["database"], row["table"]) == ("shop", "views")]
    assert sum(row["rows_in"] for row in views) >= len(VIEWS) + len(BAD)
    assert sum(row["queries"] for row in views) >= 1
    assert all(row["bytes_stored"] > 0 for row in views)
    assert sum(row["cpu_s"] for row in rows) > 0
    anew = http.post("/api/analyses/usage/runs", json={"from_manifest": run})
    assert anew.status_code == 422
    assert "meters" in anew.json()["message"]


def test_operations_are_read_from_the_logs_that_a_drain_left(addon: Running) -> None:
    with addon.platform() as platform:
        made = platform.post(
            "/heroku/resources", json={"uuid": str(uuid.uuid4()), "name": "ops", "plan": "premium"}
        ).json()
    url = httpx.URL(made["log_drain_url"])
    lines = [
        b'<158>1 2026-11-01T10:00:%02d.000000+00:00 host heroku router - at=info method=GET path="/p/%d"'
        b' host=x.example request_id=r%d fwd="1.2.3.4" dyno=web.1 connect=1ms service=%dms status=%d bytes=10'
        % (n, n % 2, n, n, 503 if n == 9 else 200)
        for n in range(10)
    ]
    lines.append(
        b'<158>1 2026-11-01T10:00:30.000000+00:00 host heroku router - at=error code=H12 desc="Timeout"'
        b' method=GET path="/p/0" host=x.example request_id=rr fwd="1.2.3.4" dyno=web.1 connect=1ms'
        b" service=30000ms status=503 bytes=0"
    )
    body = b"".join(b"%d %b" % (len(line), line) for line in lines)
    sent = httpx.post(
        f"{addon.url}{url.path}",
        content=body,
        headers={
            "content-type": "application/logplex-1",
            "logplex-msg-count": str(len(lines)),
            "logplex-frame-id": uuid.uuid4().hex,
            "logplex-drain-token": "d.x",
        },
        auth=(url.username, url.password),
    )
    assert sent.status_code == 204, sent.text
    key = {"authorization": f"TD1 {made['config']['TREASURE_DATA_API_KEY']}"}
    with httpx.Client(base_url=addon.url, headers=key, timeout=60) as http:
        run = _start(http, "operations", {"database": "logs"})["run"]
        shown = _ended(http, "operations", run)
        assert (shown["status"], shown["error"]) == ("success", None)
        found = {
            one["name"]: http.get(
                f"/api/analyses/operations/runs/{run}/outputs/{one['name']}", params={"format": "json"}
            ).json()["rows"]
            for one in shown["outputs"]
        }
    (whole,) = [row for row in found["operations"] if row["path"] == "(all)"]
    assert (whole["app"], whole["requests"], whole["errors"]) == ("ops", 11, 2)
    assert (whole["service_p50_ms"], whole["service_max_ms"]) == (5.0, 30_000)
    assert [(row["code"], row["events"]) for row in found["operations_codes"]] == [("H12", 1)]
