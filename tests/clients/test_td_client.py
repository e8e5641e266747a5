"""The real td-client against a real add-on process."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import msgpack
import pytest
from tdclient.errors import AlreadyExistsError, AuthError, NotFoundError

from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tdclient

UUID = "01234567-89ab-cdef-0123-456789abcdef"
OTHER_UUID = "11234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(tmp_path_factory.mktemp("home"), free_base())
    yield running
    stop(running)


def _rows(*rows: dict[str, Any]) -> bytes:
    return gzip.compress(b"".join(msgpack.packb(row) for row in rows))


def _import(client: tdclient.Client, database: str, table: str, body: bytes, **more: Any) -> float:
    return client.import_data(database, table, "msgpack.gz", io.BytesIO(body), len(body), **more)


def test_databases_and_tables_come_and_go(addon: Running) -> None:
    with addon.client() as client:
        assert client.server_status() == "ok"
        assert client.create_database("come_and_go")
        with pytest.raises(AlreadyExistsError):
            client.create_database("come_and_go")
        assert client.create_log_table("come_and_go", "events")
        client.update_schema("come_and_go", "events", [["price", "double"]])
        (table,) = client.tables("come_and_go")
        assert (table.name, table.count, table.schema, table.type) == (
            "events",
            0,
            [["price", "double"]],
            "log",
        )
        assert table.last_log_timestamp is not None
        assert client.query("come_and_go", "select * from events", type="presto").wait() is None
        assert client.delete_table("come_and_go", "events") == "log"
        assert client.delete_database("come_and_go")
        with pytest.raises(NotFoundError):
            client.tables("come_and_go")


def test_imported_rows_are_in_the_next_query(addon: Running) -> None:
    with addon.client() as client:
        client.create_database("imports")
        client.create_log_table("imports", "events")
        rows = [
            {"time": 1_700_000_000 + index, "user": f"u{index % 3}", "price": index / 2}
            for index in range(1000)
        ]
        assert _import(client, "imports", "events", _rows(*rows)) >= 0
        job = client.query(
            "imports",
            "SELECT user, count(*), sum(price) total FROM events GROUP BY 1 ORDER BY 1",
            type="presto",
        )
        job.wait()
        assert job.status() == "success"
        assert list(job.result()) == [
            ["u0", 334, sum(row["price"] for row in rows if row["user"] == "u0")],
            ["u1", 333, sum(row["price"] for row in rows if row["user"] == "u1")],
            ["u2", 333, sum(row["price"] for row in rows if row["user"] == "u2")],
        ]
        assert job.result_schema == [["user", "varchar"], ["_col1", "bigint"], ["total", "double"]]
        days = client.query("imports", "SELECT min(time) / 86400, max(price) / 2 FROM events", type="presto")
        days.wait()
        assert list(days.result()) == [[1_700_000_000 // 86_400, 249.75]]
        (table,) = client.tables("imports")
        assert table.count == 1000
        assert sorted(table.schema) == [["price", "double"], ["user", "string"]]
        newest = next(iter(client.tail("imports", "events", 1)))
        assert newest == {"time": 1_700_000_999, "user": "u0", "price": 499.5}


def test_a_tables_count_has_every_acknowledged_row(addon: Running) -> None:
    client = addon.client()
    client.create_database("counted")
    client.create_log_table("counted", "events")
    for number in range(1, 9):
        _import(client, "counted", "events", _rows({"time": number}))
        if number % 2:
            (table,) = client.tables("counted")
            assert table.count == number
        else:
            with addon.http() as http:
                shown = http.get("/v3/table/show/counted/events").json()
            assert shown["count"] == number
    (database,) = [one for one in client.databases() if one.name == "counted"]
    assert database.count == 8
    began = time.monotonic()
    client.tables("counted")
    assert time.monotonic() - began < 1  # nothing to wait for


def test_an_upload_id_counts_once(addon: Running) -> None:
    body = _rows({"time": 1, "a": 1}, {"time": 2, "a": 2})
    with addon.client() as client:
        client.create_database("uploads")
        client.create_log_table("uploads", "events")
        for _ in range(3):
            _import(client, "uploads", "events", body, unique_id="a" * 32)
        job = client.query("uploads", "select count(*) from events", type="trino")
        job.wait()
        assert list(job.result()) == [[2]]
        with pytest.raises(AlreadyExistsError):
            _import(client, "uploads", "events", _rows({"time": 3}), unique_id="a" * 32)


def test_results_come_in_every_format(addon: Running, tmp_path: Path) -> None:
    sql = "select 1 a, 'x,y' b, null c, true d, nan() e, 1.50 f"
    with addon.client() as client, addon.http() as http:
        client.create_database("formats")
        job = client.query("formats", sql, type="presto")
        job.wait()
        expected = [1, "x,y", None, True, pytest.approx(float("nan"), nan_ok=True), "1.50"]
        assert list(job.result()) == [expected]
        assert list(job.result_format("json")) == [[1, "x,y", None, True, "NaN", "1.50"]]
        url = f"/v3/job/result/{job.job_id}"
        assert (
            http.get(url, params={"format": "csv", "header": "true"}).text
            == 'a,b,c,d,e,f\n1,"x,y",,true,nan,1.50\n'
        )
        assert http.get(url).text == "1\tx,y\t\ttrue\tnan\t1.50\n"
        size = client.job(job.job_id).result_size
        whole = http.get(url, params={"format": "msgpack.gz"})
        assert len(whole.content) == size
        part = http.get(url, params={"format": "msgpack.gz"}, headers={"range": "bytes=2-5"})
        assert (part.status_code, part.content) == (206, whole.content[2:6])
        assert part.headers["etag"] == whole.headers["etag"]
        target = tmp_path / "result.msgpack.gz"
        client.download_job_result(job.job_id, str(target))
        assert target.read_bytes() == whole.content
        assert http.get(url, params={"format": "pdf"}).status_code == 422


def test_a_wrong_query_ends_as_an_error_with_its_reason(addon: Running) -> None:
    with addon.client() as client:
        client.create_database("errors")
        for sql, reason in (
            ("select nope from", "does not parse"),
            ("select * from missing", "does not exist"),
            ("drop table x", "not supported"),
            ("select * from read_text('/etc/passwd')", "not available"),
            ("select cast('x' as integer)", "Could not convert"),
        ):
            job = client.query("errors", sql, type="presto")
            job.wait()
            assert job.status() == "error"
            assert job.debug is not None
            assert reason in job.debug["stderr"]
        with pytest.raises(NotFoundError):
            list(client.job_result(job.job_id))
        with pytest.raises(NotFoundError):
            client.query("no_such_database", "select 1", type="presto")


def test_a_running_query_is_killed(addon: Running) -> None:
    sql = "select count(*) from range(1000000000) a, range(1000000000) b"
    with addon.client() as client, addon.http() as http:
        client.create_database("kills")
        issued = http.post("/v3/job/issue/duckdb/kills", data={"query": sql}).json()
        assert client.job_status(issued["job_id"]) == "running"
        assert client.kill(issued["job_id"]) == "running"
        deadline = time.monotonic() + 5
        while client.job_status(issued["job_id"]) == "running":
            assert time.monotonic() < deadline
        assert client.job_status(issued["job_id"]) == "killed"
        after = client.query("kills", "select 1", type="presto")
        after.wait()
        assert list(after.result()) == [[1]]


def test_bad_keys_and_bad_bodies_are_the_clients_mistake(addon: Running) -> None:
    for key in ("1/" + "0" * 64, "nonsense"):
        with addon.client(key) as client, pytest.raises(AuthError):
            client.databases()
    with addon.http() as http:
        http.post("/v3/database/create/bad_bodies")
        http.post("/v3/table/create/bad_bodies/events/log")
        url = "/v3/table/import/bad_bodies/events/msgpack.gz"
        for body in (
            b"",
            b"x",
            gzip.compress(b"\xc1"),
            gzip.compress(b"\x81"),
            gzip.compress(msgpack.packb([1])),
        ):
            answer = http.put(url, content=body)
            assert 400 <= answer.status_code < 500 or answer.json()["elapsed_time"] >= 0
            assert answer.status_code != 500
        assert http.put("/v3/table/import/bad_bodies/nope/msgpack.gz", content=b"x").status_code == 404
        assert http.post("/v3/database/create/UPPER").status_code == 422
        assert http.get("/v3/nothing").json()["status_code"] == 404


def test_eight_provision_calls_make_one_resource_and_deprovisioning_deletes_it(addon: Running) -> None:
    body = {"uuid": UUID, "name": "acme", "plan": "nano", "region": "x", "log_drain_token": "d.1", "more": 1}
    with addon.platform() as platform:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: platform.post("/heroku/resources", json=body), range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert len({answer.text for answer in answers}) == 1
        made = answers[0].json()
        key = made["config"]["TREASURE_DATA_API_KEY"]
        _send_logs(addon, made["log_drain_url"])
        with addon.client(key) as client:
            job = client.query("shop", 'select "user", price from events', type="presto")
            job.wait()
            assert (job.status(), list(job.result())) == ("success", [["ann", 12.5]])
            with addon.client() as other, pytest.raises(NotFoundError):
                other.job_status(job.job_id)
        assert platform.put(f"/heroku/resources/{UUID}", json={"plan": "standard"}).status_code == 200
        assert platform.put(f"/heroku/resources/{UUID}", json={"plan": "gold"}).status_code == 422
        assert platform.delete(f"/heroku/resources/{UUID}").status_code == 204
        with addon.client(key) as client, pytest.raises(AuthError):
            client.databases()
        assert platform.delete(f"/heroku/resources/{UUID}").status_code == 410
        assert platform.post("/heroku/resources", json=body).status_code == 410
        assert httpx.post(f"{addon.url}/logplex/{UUID}", content=b"").status_code == 410
        wrong = httpx.post(f"{addon.url}/heroku/resources", json=body, auth=("sluice", "wrong"))
        assert wrong.status_code == 401


def _send_logs(addon: Running, drain_url: str) -> None:
    url = httpx.URL(drain_url)
    line = '<190>1 2026-01-01T00:00:00+00:00 host app web.1 - @[shop.events] {"user": "ann", "price": 12.5}\n'
    frame = f"{len(line)} {line}".encode()
    headers = {
        "content-type": "application/logplex-1",
        "logplex-msg-count": "1",
        "logplex-frame-id": "F1",
        "logplex-drain-token": "d.1",
    }
    auth = (url.username, url.password)
    target = f"{addon.url}{url.path}"
    trust = ssl.create_default_context(cafile=str(addon.authority))
    assert httpx.post(drain_url, content=frame, headers=headers, verify=trust).status_code == 204
    for _ in range(2):  # retries of the same frame
        assert httpx.post(target, content=frame, headers=headers, auth=auth).status_code == 204
    zipped = {**headers, "content-encoding": "gzip"}
    assert httpx.post(target, content=gzip.compress(frame), headers=zipped, auth=auth).status_code == 204
    assert (
        httpx.post(target, content=frame, headers=headers, auth=("logplex", "wrong")).status_code == 204
    )  # its token
    headers["logplex-drain-token"] = "d.2"
    assert httpx.post(target, content=frame, headers=headers, auth=("logplex", "wrong")).status_code == 401
    assert (
        httpx.post(
            target, content=frame, headers={**headers, "logplex-msg-count": "2"}, auth=auth
        ).status_code
        == 400
    )


def test_a_sign_on_opens_one_session(addon: Running) -> None:
    with addon.platform() as platform:
        platform.post("/heroku/resources", json={"uuid": OTHER_UUID, "name": "sso", "plan": "nano"})
    salt, now = addon.keys["sso_salt"], int(time.time())

    def form(stamp: int) -> dict[str, str]:
        token = hashlib.sha1(f"{OTHER_UUID}:{salt}:{stamp}".encode()).hexdigest()  # noqa: S324  (the protocol's)
        return {
            "resource_id": OTHER_UUID,
            "resource_token": token,
            "timestamp": str(stamp),
            "nav-data": "abc",
        }

    with httpx.Client(base_url=addon.url) as browser:
        assert browser.get("/account").status_code == 403
        for stamp in (now - 360, now + 120):
            assert browser.post("/sso/login", data=form(stamp)).status_code == 403
        assert browser.post("/sso/login", data={**form(now), "resource_token": "x"}).status_code == 403
        assert browser.post("/sso/login", data=form(now)).status_code == 302
        assert browser.cookies["heroku-nav-data"] == "abc"
        page = browser.get("/account")
        assert 'div id="heroku-header"' in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert browser.post("/sso/login", data=form(now)).status_code == 403


def test_the_signed_in_page_links_the_kept_runs_of_reports(addon: Running) -> None:
    uuid = OTHER_UUID[:-1] + "e"
    with addon.platform() as platform:
        made = platform.post("/heroku/resources", json={"uuid": uuid, "name": "reader", "plan": "nano"})
    config = made.json()["config"]
    key = next(value for name, value in config.items() if name.endswith("API_KEY"))
    sql = "SELECT 'a' AS item, 5 AS time, 1 AS value"
    body = {"analyses": [{"analysis": "ranking", "inputs": {"items": sql}}]}
    with httpx.Client(base_url=addon.url, headers={"authorization": f"TD1 {key}"}, timeout=90) as http:
        for name in ("daily", "idle"):
            http.put(f"/api/reports/{name}", json=body).raise_for_status()
        job = http.post("/api/reports/daily/runs").json()["job_id"]
        done = http.get(f"/api/reports/daily/jobs/{job}", params={"wait": 60}).json()
    assert done["status"] == "success", done
    link, now = f"/account/reports/daily/runs/{done['run']['run']}", str(int(time.time()))
    token = hashlib.sha1(f"{uuid}:{addon.keys['sso_salt']}:{now}".encode()).hexdigest()  # noqa: S324  (the protocol's)
    form = {"resource_id": uuid, "resource_token": token, "timestamp": now}
    with httpx.Client(base_url=addon.url) as browser:
        assert browser.get(link).status_code == 403
        assert browser.post("/sso/login", data=form).status_code == 302
        account = browser.get("/account").text
        assert f'<a href="{link}">' in account
        assert "sluice report run idle" in account
        page = browser.get(link)
        assert page.text.lower().startswith("<!doctype html>")
        assert "sandbox" in page.headers["content-security-policy"]
        assert browser.get(link.replace("daily", "idle")).status_code == 404
        assert browser.get("/account/reports/daily/runs/x").status_code == 404


def test_the_synchronous_query_answers_json_and_arrow(addon: Running) -> None:
    import pyarrow as pa  # noqa: PLC0415  (heavy, and only needed here)

    with addon.http() as http:
        http.post("/v3/database/create/sync")
        asked = {"sql": "select 1 a, 'x' b", "database": "sync"}
        answer = http.post("/sluice/v1/query", json=asked)
        assert answer.json() == {
            "columns": [{"name": "a", "type": "integer"}, {"name": "b", "type": "varchar"}],
            "rows": [[1, "x"]],
        }
        arrow = http.post(
            "/sluice/v1/query", json=asked, headers={"accept": "application/vnd.apache.arrow.stream"}
        )
        assert pa.ipc.open_stream(arrow.content).read_all().to_pylist() == [{"a": 1, "b": "x"}]
        assert http.post("/sluice/v1/query", json={"sql": "select x"}).status_code == 422


def test_an_analysis_runs_on_queries_and_its_outputs_are_downloaded(addon: Running) -> None:
    with addon.http() as http:
        http.post("/v3/database/create/analyses")
        items = "select * from (values ('a', 3.0), ('b', 2.0), ('a', 1.0)) t(item, value)"
        body = {"database": "analyses", "inputs": {"items": items}, "params": {"top": 1}, "engine": "duckdb"}
        issued = http.post("/sluice/v1/analyses/ranking", json=body).json()
        shown = http.get(f"/sluice/v1/analyses/{issued['job_id']}", params={"wait": "50"}).json()
        assert (shown["status"], shown["error"]) == ("success", None)
        assert shown["outputs"]
        assert shown["manifest"]["result_hash"]
        url = f"/sluice/v1/analyses/{issued['job_id']}/outputs/{shown['outputs'][0]}"
        rows = http.get(url, headers={"accept": "application/json"}).json()["rows"]
        assert [(row["item"], row["metric"]) for row in rows] == [("a", 4.0)]
        assert http.get(url).content[:4] == b"PAR1"
        assert http.get(url + "x").status_code == 404
        issued = http.post(
            "/sluice/v1/analyses/ranking", json={**body, "inputs": {"items": "select nope"}}
        ).json()
        shown = http.get(f"/sluice/v1/analyses/{issued['job_id']}", params={"wait": "50"}).json()
        assert shown["status"] == "error"
        assert "Input items" in shown["error"]


def test_an_analysis_that_cannot_run_is_refused_at_once(addon: Running) -> None:
    body = {"inputs": {"items": "select 'a' as item, 1.0 as value"}}
    with addon.http() as http:
        before = http.get("/v3/job/list").json()["count"]
        for name, asked, status, reason in (
            ("nope", body, 404, "ranking"),
            ("Ranking", body, 404, "There is no analysis"),
            ("ranking", {**body, "params": {"top": "x"}}, 422, "top"),
            ("ranking", {**body, "params": {"topp": 1}}, 422, "topp"),
            ("ranking", {**body, "params": [1]}, 422, "params"),
            ("ranking", {**body, "engine": "flink"}, 422, "duckdb or spark"),
            ("ranking", {**body, "engine": ["duckdb"]}, 422, "duckdb or spark"),
            ("ranking", {**body, "dialect": "mysql"}, 422, "trino"),
            ("ranking", {"inputs": {"itemz": "select 1"}}, 422, "itemz"),
            ("ranking", {"inputs": {}}, 422, "inputs"),
            ("paths", {"inputs": {"touches": "select 1"}}, 422, "conversions"),
            ("ranking", {"from_manifest": {}}, 422, "from_manifest"),
            ("ranking", {"from_manifest": [1]}, 422, "from_manifest"),
        ):
            refused = http.post(f"/sluice/v1/analyses/{name}", json=asked)
            assert (refused.status_code, reason in refused.json()["message"]) == (status, True), refused.text
        assert http.get("/v3/job/list").json()["count"] == before


def _analysis(http: httpx.Client, name: str, body: dict[str, Any]) -> dict[str, Any]:
    issued = http.post(f"/sluice/v1/analyses/{name}", json=body)
    assert issued.status_code == 200, issued.text
    shown: dict[str, Any] = http.get(
        f"/sluice/v1/analyses/{issued.json()['job_id']}", params={"wait": "50"}
    ).json()
    return shown


def test_an_analysis_is_repeated_from_its_manifest_on_the_same_rows(addon: Running) -> None:
    client = addon.client()
    client.create_database("repeats")
    client.create_log_table("repeats", "sales")
    _import(
        client, "repeats", "sales", _rows({"time": 1, "item": "a", "n": 3}, {"time": 2, "item": "b", "n": 2})
    )
    # a second that moves on, unless a repetition is told the first run's
    items = "select item, td_scheduled_time() + n as value from sales"
    body = {"database": "repeats", "inputs": {"items": items}, "params": {"top": 2}, "dialect": "trino"}
    with addon.http() as http:
        first = _analysis(http, "ranking", body)
        assert first["error"] is None
        manifest = first["manifest"]
        (entry,) = manifest["inputs"].values()
        assert (entry["sql"], entry["dialect"], entry["database"]) == (items, "trino", "repeats")
        (table,) = entry["tables"]
        assert (table["database"], table["table"]) == ("repeats", "sales")
        assert "files" not in entry

        _import(client, "repeats", "sales", _rows({"time": 3, "item": "b", "n": 9}))
        anew = _analysis(http, "ranking", body)["manifest"]
        assert anew["result_hash"] != manifest["result_hash"]
        assert anew["inputs"]["items"]["tables"][0]["version"] > table["version"]

        again = _analysis(http, "ranking", {"from_manifest": manifest})
        assert again["error"] is None
        assert again["manifest"]["result_hash"] == manifest["result_hash"]
        assert again["manifest"]["repeats"] == {"result_hash": manifest["result_hash"], "same": True}
        for part in ("inputs", "queried_at", "rows_in", "params"):
            assert again["manifest"][part] == manifest[part]
        thrice = _analysis(http, "ranking", {"from_manifest": again["manifest"]})["manifest"]
        assert thrice["result_hash"] == manifest["result_hash"]

        for change, reason in (
            ({"version": 10_000}, "version 10000"),
            ({"analysis": "paths"}, "ranking"),
            ({"inputs": {"items": {"files": ["x"]}}}, "names files"),
            ({"queried_at": "now"}, "from_manifest"),
        ):
            refused = http.post("/sluice/v1/analyses/ranking", json={"from_manifest": {**manifest, **change}})
            assert (refused.status_code, reason in refused.json()["message"]) == (422, True), refused.text
        beside = {"from_manifest": manifest, "params": {"top": 1}}
        assert http.post("/sluice/v1/analyses/ranking", json=beside).status_code == 422

        gone = json.loads(json.dumps(manifest))
        gone["inputs"]["items"]["tables"][0]["version"] = 999
        lost = _analysis(http, "ranking", {"from_manifest": gone})
        assert lost["status"] == "error"
        assert "repeats.sales has no version 999" in lost["error"]

        client.delete_table("repeats", "sales")
        client.create_log_table("repeats", "sales")
        for number in range(table["version"] + 1):
            _import(client, "repeats", "sales", _rows({"time": number, "item": "z", "n": number}))
            http.post("/sluice/v1/query", json={"sql": "select 1 from sales", "database": "repeats"})
        lost = _analysis(http, "ranking", {"from_manifest": manifest})
        assert lost["status"] == "error"
        assert "was deleted since" in lost["error"]


def test_a_restart_keeps_everything_and_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    base = free_base()
    running = start(tmp_path, base)
    with running.client() as client:
        client.create_database("restart")
        client.create_log_table("restart", "events")
        _import(client, "restart", "events", _rows({"time": 1, "a": 1}))
    clash = subprocess.run(
        [sys.executable, "-m", "addon", "serve", "--home", str(tmp_path), "--port-base", str(base)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert clash.returncode == 1
    assert clash.stderr.startswith("error: Cannot listen on 127.0.0.1:")
    assert clash.stderr.count("\n") == 1
    assert stop(running) < 10
    again = start(tmp_path, base)
    assert again.keys == running.keys
    with again.client() as client:
        job = client.query("restart", "select a from events", type="hive")
        job.wait()
        assert list(job.result()) == [[1]]
    stop(again)


def test_basic_credentials_must_be_well_formed(addon: Running) -> None:
    for header in ("Basic", "Basic !!!", "Basic " + base64.b64encode(b"x").decode(), "Bearer x", ""):
        answer = httpx.post(f"{addon.url}/heroku/resources", json={}, headers={"authorization": header})
        assert answer.status_code == 401
