"""The add-on as outsiders try it: every client call, every wrong input, every way at somebody else's data."""

from __future__ import annotations

import gzip
import io
import json
import socket
import sqlite3
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import msgpack
import pytest
from tdclient.errors import APIError

from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINE = b'<190>1 2026-01-01T00:00:00+00:00 host app web.1 - @[shop.events] {"marker": "m4rk3r-%06d"}\n'
TD_FORM = {"error", "message", "text", "severity", "status_code"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture(scope="module")
def addon(home: Path) -> Iterator[Running]:
    running = start(home, free_base())
    yield running
    stop(running)


class Tenant:
    """A provisioned resource: its drain, and a client with its key."""

    def __init__(self, addon: Running) -> None:
        self.addon, self.uuid = addon, str(uuid.uuid4())
        with addon.platform() as platform:
            made = platform.post(
                "/heroku/resources", json={"uuid": self.uuid, "name": "acme", "plan": "nano"}
            ).json()
        self.key: str = made["config"]["TREASURE_DATA_API_KEY"]
        url = httpx.URL(made["log_drain_url"])
        self.auth = (url.username, url.password)
        self.http = httpx.Client(base_url=addon.url, headers={"authorization": f"TD1 {self.key}"}, timeout=60)

    def drain(self, body: bytes, auth: tuple[str, str] | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(
            f"{self.addon.url}/logplex/{self.uuid}",
            content=body,
            headers={"content-type": "application/logplex-1", **named},
            auth=self.auth if auth is None else auth,
        )

    def query(self, sql: str, database: str = "shop", dialect: str = "trino") -> httpx.Response:
        asked = {"sql": sql, "database": database, "dialect": dialect}
        return self.http.post("/sluice/v1/query", json=asked)


@pytest.fixture(scope="module")
def tenant(addon: Running) -> Iterator[Tenant]:
    made = Tenant(addon)
    assert made.drain(_frame(0)).status_code == 204
    yield made
    made.http.close()


def _frame(number: int) -> bytes:
    message = LINE % number
    return b"%d %b" % (len(message), message)


def test_files_are_imported_in_every_form_and_results_iterate_in_every_format(addon: Running) -> None:
    with addon.client() as client:
        client.create_database("forms")
        client.create_log_table("forms", "events")
        for form, data in (
            ("csv", b"time,a,b\n1700000000,1,x\n"),
            ("tsv", b"time\ta\tb\n1700000001\t2\ty\n"),
            ("json", b'{"time":1700000002,"a":3,"b":"z"}\n'),
            ("msgpack", msgpack.packb({"time": 1_700_000_003, "a": 4, "b": "w"})),
            ("msgpack.gz", gzip.compress(msgpack.packb({"time": 1_700_000_004, "a": 5}))),
        ):
            client.import_file("forms", "events", form, io.BytesIO(data))
        expected = [[1, "x"], [2, "y"], [3, "z"], [4, "w"], [5, None]]
        for kind in ("presto", "hive", "trino"):
            job = client.query("forms", "select a, b from events order by time", type=kind, priority=1)
            job.wait()
            assert (job.status(), list(job.result())) == ("success", expected)
        for form in ("msgpack", "json", "csv", "tsv"):
            rows = list(client.job_result_format_each(job.job_id, form))
            assert [row[0] for row in rows] == [1, 2, 3, 4, 5]
        assert list(job.result_format("msgpack", store_tmpfile=True, num_threads=4)) == expected
        assert next(one.job_id for one in client.jobs(0, 1, status="success")) == job.job_id
        assert client.kill(job.job_id) == "success"
        assert [row["a"] for row in client.tail("forms", "events", 2)] == [5, 4]
        client.update_expire("forms", "events", 7)
        assert client.table("forms", "events").expire_days == 7
        (user,) = client.users()
        before = client.list_apikeys(user.name)
        assert client.add_apikey(user.name)
        assert len(client.list_apikeys(user.name)) == len(before) + 1
        assert (client.results(), client.delete_table("forms", "events")) == ([], "log")


def test_a_declared_schema_is_how_td_client_reads_the_table(addon: Running) -> None:
    with addon.client() as client:
        client.create_database("declared")
        client.create_log_table("declared", "events")
        client.update_schema("declared", "events", [["price", "double"]])
        job = client.query("declared", "select * from events", type="presto")
        job.wait()
        assert job.result_schema == [["time", "bigint"], ["price", "double"]]
        body = b'{"time":1,"price":3}\n{"time":2,"price":"three"}\n'
        client.import_file("declared", "events", "json", io.BytesIO(body))
        client.update_schema("declared", "events", [["price", "string", "cost"]])
        job = client.query("declared", "select cost from events order by time", type="hive")
        job.wait()
        assert list(job.result()) == [["3"], ["three"]]


def test_what_is_not_served_yet_says_so(addon: Running) -> None:
    with addon.client() as client:
        assert (client.schedules(), client.bulk_imports(), client.results()) == ([], [], [])
        client.create_database("later")
        client.create_log_table("later", "events")
        for call in (
            lambda: client.create_result("r", "mysql://user:secret@host/db"),
            lambda: client.add_user("n", "o", "n@example.com", "p"),
            lambda: client.export_data("later", "events", "s3", {"bucket": "b"}),
        ):
            with pytest.raises(APIError, match="not supported by this version"):
                call()


def test_requests_of_doubtful_length_are_refused(addon: Running) -> None:
    host, _, port = addon.url.removeprefix("http://").partition(":")
    head = "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        answers = b"".join(iter(lambda: connection.recv(4_096), b""))
    assert answers.startswith(b"HTTP/1.1 400")
    assert answers.count(b"HTTP/1.1") == 1


def test_the_metrics_tell_of_ingest_and_of_the_audit_log(addon: Running) -> None:
    told = httpx.get(f"{addon.url}/metrics").text.splitlines()
    assert "sluice_audit_intact 1" in told
    assert any(line.startswith("sluice_ingest_batches_total ") for line in told)


def test_td_clients_second_slash_is_no_other_path(addon: Running) -> None:
    slashes = f"{addon.url}//v3"
    with addon.http() as http:
        assert http.get(f"{slashes}/system/server_status").json() == {"status": "ok"}
        assert http.get(f"{slashes}/database/list").status_code == 200
        assert httpx.get(f"{slashes}/database/list").status_code == 401
        http.post(f"{slashes}/database/create/slashes")
        http.post(f"{slashes}/table/create/slashes/events/log")
        body = gzip.compress(msgpack.packb({"time": 1}))
        assert http.put(f"{slashes}/table/import/slashes/events/msgpack.gz", content=body).status_code == 200
        assert http.get("/v3/database/list/", follow_redirects=False).status_code == 404


def test_the_drain_answers_as_logplex_does(tenant: Tenant) -> None:
    good = _frame(1)
    for headers, body, status in (
        ({"logplex_msg_count": "1", "logplex_frame_id": "f1"}, good, 204),
        ({"logplex_msg_count": "1", "logplex_frame_id": "f1"}, good, 204),
        ({"logplex_frame_id": "f1"}, good + good, 409),
        ({"logplex_msg_count": "2"}, good, 400),
        ({"logplex_msg_count": "x"}, good, 400),
        ({"logplex_msg_count": "9" * 5_000}, good, 400),
        ({"logplex_msg_count": "0"}, b"", 204),
        ({"logplex_msg_count": "1"}, b"", 400),
        ({}, good + b"500 beyond", 400),
        ({}, b"-5 abc", 400),
        ({}, b"1e3 abc", 400),
        ({}, b"0" + good, 400),
        ({}, b"0 " + good, 400),
        ({"logplex_msg_count": ""}, good, 400),
        ({}, b"no frame", 400),
        ({"content_encoding": "gzip", "logplex_msg_count": "1"}, gzip.compress(good), 204),
        ({"content_encoding": "gzip", "logplex_msg_count": "2"}, gzip.compress(good) * 2, 204),
        ({"content_encoding": "gzip"}, gzip.compress(good)[:-4], 400),
        ({"content_encoding": "gzip"}, gzip.compress(bytes(200 << 20)), 413),
        ({"content_encoding": "br"}, good, 400),
        ({"content_type": "text/plain"}, good, 400),
        ({}, b"x" * (33 << 20), 413),
    ):
        answer = tenant.drain(body, **headers)
        assert answer.status_code == status, (headers, body[:40], answer.text)
    wrong = tenant.drain(good, auth=("logplex", "wrong"))
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, 'Basic realm="Logplex"')
    unknown = f"{tenant.addon.url}/logplex/{uuid.uuid4()}"
    assert httpx.post(unknown, content=good, auth=tenant.auth).status_code == 404
    counted = tenant.query("select count(*) from events where marker = 'm4rk3r-000001'")
    assert counted.json()["rows"] == [[4]]  # f1 once, gzip once, two members


def _bad_bodies() -> dict[str, bytes]:
    def row(**values: Any) -> bytes:
        return gzip.compress(msgpack.packb(values))

    return {
        "nothing": b"",
        "no gzip": b"hello",
        "empty gzip": gzip.compress(b""),
        "cut gzip": gzip.compress(msgpack.packb({"time": 1, "a": "b" * 99}))[:-5],
        "wrong crc": gzip.compress(b"\x81\xa1a\x01")[:-8] + bytes(8),
        "cut map": gzip.compress(b"\x82\xa1a\x01"),
        "no msgpack": gzip.compress(b"\xc1"),
        "4 G array": gzip.compress(b"\xdd\xff\xff\xff\xff"),
        "4 G map": gzip.compress(b"\xdf\xff\xff\xff\xff"),
        "4 G text": gzip.compress(b"\xdb\xff\xff\xff\xff"),
        "a million deep": gzip.compress(b"\x81\xa1a" + b"\x91" * 1_000_000),
        "a bomb": gzip.compress(bytes(200 << 20)),
        "twice": gzip.compress(gzip.compress(bytes(1 << 20))),
    }


def test_a_broken_import_is_refused_and_the_next_one_works(addon: Running) -> None:
    with addon.http() as http:
        http.post("/v3/database/create/broken")
        http.post("/v3/table/create/broken/events/log")
        url = "/v3/table/import/broken/events/msgpack.gz"
        for name, body in _bad_bodies().items():
            answer = http.put(url, content=body)
            assert answer.status_code in {400, 413, 422}, (name, answer.text)
            assert set(answer.json()) >= TD_FORM, name
        odd = [float("nan"), 2**64 - 1, -1, 1_700_000_000_000, "yesterday", None]
        body = b"".join(msgpack.packb({"time": value, "a": index}) for index, value in enumerate(odd))
        body += msgpack.packb({"time": 1_700_000_000, 'x"; drop--': 1, "": 2, "../y": 3, "a\0b": 4})
        assert http.put(url, content=gzip.compress(body)).status_code == 200
        asked = {"sql": "select count(*) from broken.events", "database": "broken"}
        kept = http.post("/sluice/v1/query", json=asked).json()["rows"][0][0]
        asked["sql"] = "select count(*) from logs.dead_letters where \"database\" = 'broken'"
        assert kept + http.post("/sluice/v1/query", json=asked).json()["rows"][0][0] == len(odd) + 1


BAD_REQUESTS: list[tuple[str, str, dict[str, Any], set[int]]] = [
    ("POST", "/v3/database/create/UPPER", {}, {422}),
    ("POST", "/v3/database/create/..%2f..%2fetc", {}, {404, 422}),
    ("POST", "/v3/database/create/%00abc", {}, {422}),
    ("POST", "/v3/database/create/a'b;--", {}, {422}),
    ("POST", "/v3/database/delete/not_there", {}, {404}),
    ("POST", "/v3/table/create/not_there/events/log", {}, {404}),
    ("POST", "/v3/table/delete/bad_requests/not_there", {}, {404}),
    ("GET", "/v3/table/tail/bad_requests/not_there", {}, {404}),
    ("POST", "/v3/table/update/bad_requests/events", {"data": {"expire_days": "9" * 30}}, {422}),
    ("POST", "/v3/table/update-schema/bad_requests/events", {"data": {"schema": '[["a","blob"]]'}}, {422}),
    ("POST", "/v3/job/issue/presto/not_there", {"data": {"query": "select 1"}}, {404}),
    ("POST", "/v3/job/issue/pig/bad_requests", {"data": {"query": "select 1"}}, {422}),
    ("POST", "/v3/job/issue/presto/bad_requests", {}, {422}),
    ("POST", "/v3/job/issue/presto/bad_requests", {"data": {"query": "x", "priority": "9"}}, {422}),
    ("POST", "/v3/job/issue/presto/bad_requests", {"data": {"query": "x", "retry_limit": "9" * 30}}, {422}),
    ("POST", "/v3/job/issue/presto/bad_requests", {"data": {"query": "x", "scheduled_time": "-1"}}, {422}),
    ("POST", "/v3/job/issue/presto/bad_requests", {"data": {"query": "x", "domain_key": "k" * 999}}, {422}),
    ("POST", "/v3/job/issue/presto/bad_requests", {"data": {"query": "x" * (5 << 20)}}, {413, 422}),
    ("POST", "/sluice/v1/query", {"content": b"{", "headers": {"content-type": "application/json"}}, {422}),
    (
        "POST",
        "/sluice/v1/query",
        {"content": b'{"sql":"\\ud800"}', "headers": {"content-type": "application/json"}},
        {422},
    ),
    ("POST", "/sluice/v1/query", {"content": b"x" * (40 << 20)}, {413, 422}),
    ("POST", "/sluice/v1/query", {"json": {"sql": "select 1", "dialect": "cobol"}}, {422}),
    ("POST", "/sluice/v1/analyses/ranking", {"content": b"[" * 100_000}, {422}),
    ("GET", "/v3/job/list?from=x", {}, {422}),
    ("GET", "/v3/job/list?status=odd", {}, {422}),
    ("GET", "/v3/job/show/%EF%BC%91", {}, {404}),
    ("POST", "/v3/job/kill/99999999999999999999", {}, {404}),
    ("GET", "/v3/nothing", {}, {404}),
    ("DELETE", "/v3/database/list", {}, {405}),
]


def test_a_users_mistake_is_never_our_fault(addon: Running) -> None:
    with addon.http() as http:
        http.post("/v3/database/create/bad_requests")
        http.post("/v3/table/create/bad_requests/events/log")
        for method, path, more, statuses in BAD_REQUESTS:
            answer = http.request(method, path, **more)
            assert answer.status_code in statuses, (method, path, answer.text[:300])
            assert set(answer.json()) >= TD_FORM, (method, path)
    for key in ("", "TD1", "TD1 x", "TD1 1/" + "0" * 64, "Bearer x", "Basic eA==", "TD1 " + "9" * 9_000):
        answer = httpx.get(f"{addon.url}/v3/database/list", headers={"authorization": key})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "TD1")
    key = addon.keys["td_api_key"]
    assert httpx.get(f"{addon.url}/v3/database/list?apikey={key}").status_code == 401


def test_a_form_over_a_limit_is_too_large_and_nothing_else(addon: Running) -> None:
    big = b"x" * (40 << 20)
    part = b'--B\r\nContent-Disposition: form-data; name="q%d"\r\n\r\n%b\r\n'
    encoded, multipart = "application/x-www-form-urlencoded", "multipart/form-data; boundary=B"
    with addon.http() as http:
        for kind, body in (
            (encoded, b"query=" + big),
            (encoded, b"&".join(b"a%d=1" % number for number in range(1_001))),
            (multipart, part % (0, big) + b"--B--\r\n"),
            (multipart, b"".join(part % (n, b"z" * (1 << 20)) for n in range(40)) + b"--B--\r\n"),
        ):
            answer = http.post("/v3/job/issue/trino/shop", content=body, headers={"content-type": kind})
            assert (answer.status_code, set(answer.json()) >= TD_FORM) == (413, True), answer.text[:300]
        torn = http.post("/v3/job/issue/trino/shop", content=b"--C", headers={"content-type": multipart})
        assert torn.status_code == 422


SHAPES = [
    "select * from shop.events",
    'select * from "td-presto".shop.events',
    "with x as (select * from shop.events) select * from x",
    "select (select max(marker) from shop.events)",
    "select 1 where exists (select 1 from shop.events)",
    "select 1 union all select 1 from shop.events",
    "select * from information_schema.tables",
    "select * from duckdb_tables()",
    'select * from "shop.events"',
    "select * from query_table('shop.events')",
    "describe shop.events",
    "insert into shop.events values (1)",
    "select * from read_parquet('/sluice-warehouse/**/*.parquet')",
    "select * from '/etc/passwd'",
    "select content from read_text('/proc/self/environ')",
    "copy (select 1) to '/tmp/x'",
    "attach '/tmp/x.db'",
    "install httpfs",
    "set memory_limit = '1TB'",
    "select 1; select 2",
    "select * from text.`/etc/passwd`",
]


def test_nothing_of_another_account_can_be_reached(tenant: Tenant) -> None:
    stranger = Tenant(tenant.addon)
    mine = tenant.query("select marker from events limit 1")
    assert mine.json()["rows"]
    issued = tenant.http.post("/v3/job/issue/trino/shop", data={"query": "select * from events"}).json()
    for sql in SHAPES:
        for dialect in ("trino", "hive", "duckdb"):
            answer = stranger.query(sql, "logs", dialect)
            assert answer.status_code in {403, 404, 422}, (sql, dialect, answer.text)
            assert "m4rk3r" not in answer.text
    for method, call in (("GET", "show"), ("GET", "status"), ("GET", "result"), ("POST", "kill")):
        assert stranger.http.request(method, f"/v3/job/{call}/{issued['job_id']}").status_code == 404
    assert stranger.http.get("/v3/job/list").json()["jobs"] == []
    body = gzip.compress(msgpack.packb({"time": 1}))
    imported = stranger.http.put("/v3/table/import/shop/events/msgpack.gz", content=body)
    assert imported.status_code == 404
    stranger.http.close()


def test_results_never_run_in_a_browser(tenant: Tenant) -> None:
    sql = "select '<script>alert(1)</script>', '=cmd()'"
    job = tenant.http.post("/v3/job/issue/trino/shop", data={"query": sql}).json()["job_id"]
    deadline = time.monotonic() + 20
    while tenant.http.get(f"/v3/job/status/{job}").json()["status"] != "success":
        assert time.monotonic() < deadline
    for form in ("csv", "tsv", "json", "msgpack", "msgpack.gz"):
        answer = tenant.http.get(f"/v3/job/result/{job}", params={"format": form})
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "html" not in answer.headers["content-type"]


def test_a_used_up_quota_is_told_in_each_protocols_form(addon: Running, home: Path) -> None:
    full = Tenant(addon)
    full.http.post("/v3/database/create/shop")
    full.http.post("/v3/table/create/shop/events/log")
    with sqlite3.connect(home / "addon" / "addon.db") as database:
        month = time.strftime("%Y-%m", time.gmtime())
        row = (int(full.key.partition("/")[0]), month, 10_000_000)
        database.execute("insert into usage (account_id, month, row_count) values (?, ?, ?)", row)
    database.close()
    body = gzip.compress(msgpack.packb({"time": 1}))
    refused = full.http.put("/v3/table/import/shop/events/msgpack.gz", content=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3600")
    assert "10,000,000 rows a month" in refused.json()["message"]
    assert full.drain(_frame(2)).status_code == 429
    assert full.query("select 1").status_code == 200
    full.http.close()


def test_kensas_first_version_body_lives_its_whole_life(addon: Running) -> None:
    body = {"heroku_id": "app1@kensa.heroku.com", "plan": "nano", "logplex_token": None, "options": {}}
    with addon.platform() as platform:
        made = platform.post("/heroku/resources", json={**body, "callback_url": "http://localhost:7779/x"})
        assert made.is_success
        resource = f"/heroku/resources/{made.json()['id']}"
        assert set(made.json()["config"]) == set(addon.keys["manifest"]["api"]["config_vars"])
        assert platform.put(resource, json={"plan": "standard", "heroku_id": "x"}).status_code == 200
        for method in ("PUT", "DELETE"):
            wrong = httpx.request(method, addon.url + resource, json={}, auth=("wrong", "secret"))
            assert wrong.status_code == 401
        assert platform.delete(resource).is_success
        assert platform.delete(resource).status_code == 410
        assert platform.delete(f"/heroku/resources/{uuid.uuid4()}").status_code == 404


def test_nothing_of_a_deprovisioned_account_is_left_on_disk(addon: Running, home: Path) -> None:
    leaver = Tenant(addon)
    account = leaver.key.partition("/")[0]
    assert leaver.drain(b"".join(map(_frame, range(200_000, 200_050)))).status_code == 204
    assert leaver.query("select count(*) from events").json()["rows"] == [[50]]
    sql = "select marker, 'l3av3r' from events"
    job = leaver.http.post("/v3/job/issue/trino/shop", data={"query": sql}).json()["job_id"]
    deadline = time.monotonic() + 20
    while leaver.http.get(f"/v3/job/status/{job}").json()["status"] != "success":
        assert time.monotonic() < deadline
    assert [folder for folder in (home / "addon").rglob(account) if folder.is_dir()]
    leaver.drain(_frame(200_050))  # acknowledged, and perhaps not a row yet
    with addon.platform() as platform:
        assert platform.delete(f"/heroku/resources/{leaver.uuid}").status_code == 204
    assert leaver.drain(_frame(1)).status_code == 410
    assert leaver.http.get("/v3/database/list").status_code == 401
    assert not [folder for folder in (home / "addon").rglob(account) if folder.is_dir()]
    for file in (home / "addon").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert b"l3av3r" not in content, file
            assert b"m4rk3r-2000" not in content, file
    leaver.http.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_analysis_on_spark_answers_as_on_duckdb(addon: Running) -> None:
    items = "select * from (values ('a', 3.0), ('b', 2.0), ('a', 1.0)) t(item, value)"
    found = {}
    with addon.http() as http:
        http.post("/v3/database/create/analyses")
        for engine in ("duckdb", "spark"):
            asked = {
                "database": "analyses",
                "inputs": {"items": items},
                "params": {"top": 2},
                "engine": engine,
            }
            job = http.post("/sluice/v1/analyses/ranking", json=asked).json()["job_id"]
            shown: dict[str, Any] = {"status": "queued"}
            while shown["status"] in {"queued", "running"}:
                shown = http.get(f"/sluice/v1/analyses/{job}", params={"wait": "50"}).json()
            assert (shown["status"], shown["engine"], shown["error"]) == ("success", engine, None)
            found[engine] = json.dumps(shown["manifest"]["result_hash"])
    assert found["spark"] == found["duckdb"]
