"""The real td-client deletes rows with SQL, travels in time and pins versions, on a real add-on process."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from tdclient.errors import ForbiddenError

from tests.clients.td_addon import Running, start, stop
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tdclient

NOW = 1_800_000_000


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(tmp_path_factory.mktemp("home"), free_base())
    with running.client() as client:
        client.create_database("shop")
    yield running
    stop(running)


def _import(client: tdclient.Client, table: str, rows: list[dict[str, Any]]) -> None:
    body = gzip.compress(b"".join(msgpack.packb(row) for row in rows))
    client.import_data("shop", table, "msgpack.gz", io.BytesIO(body), len(body))


def _rows(client: tdclient.Client, sql: str, kind: str = "trino") -> list[Any]:
    job = client.query("shop", sql, type=kind)
    job.wait(wait_interval=0.1)
    assert job.success(), job.debug
    return list(job.result())


def test_rows_are_deleted_by_a_query_job_and_stay_readable_as_a_version(addon: Running) -> None:
    with addon.client() as client, addon.http() as http:
        client.create_log_table("shop", "events")
        _import(client, "events", [{"time": NOW + n, "n": n} for n in range(100)])
        made = http.post("/api/tables/shop/events/pins", json={"name": "all-of-them"})
        assert made.status_code == 201, made.text
        version = made.json()["version"]
        assert made.json()["rows"] == 100
        job = client.query(
            "shop", "DELETE FROM events WHERE n % 10 = 3 OR TD_TIME_RANGE(time, 1800000090)", type="trino"
        )
        job.wait(wait_interval=0.1)
        assert job.success(), job.debug
        assert (list(job.result()), job.num_records, job.result_schema) == ([[19]], 19, [["rows", "bigint"]])
        assert _rows(client, "SELECT count(*), max(n) FROM events") == [[81, 89]]
        assert client.tables("shop")[0].count == 81
        old = f"SELECT count(*) FROM events FOR VERSION AS OF {version}"  # noqa: S608 (a number)
        assert _rows(client, old) == [[100]]
        _import(client, "events", [{"time": NOW, "n": 3}])
        assert _rows(client, "SELECT count(*) FROM events WHERE n = 3") == [[1]]
        assert _rows(client, "delete from shop.events", "hive") == [[82]]
        assert _rows(client, "SELECT count(*) FROM events", "presto") == [[0]]


def test_pins_are_listed_and_let_go(addon: Running) -> None:
    with addon.client() as client, addon.http() as http:
        client.create_log_table("shop", "pinned")
        _import(client, "pinned", [{"time": NOW, "n": 1}])
        place = "/api/tables/shop/pinned/pins"
        assert http.post(place, json={"name": "one"}).status_code == 201
        assert http.post(place, json={"name": "one"}).status_code == 409
        for bad in ({}, {"name": 1}, {"name": "../x"}, {"name": "x", "version": True}):
            assert http.post(place, json=bad).status_code in {400, 422}, bad
        assert http.post(place, json={"name": "x", "version": 999}).status_code == 404
        assert [pin["name"] for pin in http.get(place).json()["pins"]] == ["one"]
        assert http.delete(f"{place}/one").status_code == 204
        assert http.delete(f"{place}/one").status_code == 404
        assert http.get(place).json() == {"pins": []}
        assert http.get("/api/tables/shop/none/pins").status_code == 404


def test_a_key_that_may_only_read_deletes_nothing(addon: Running) -> None:
    with addon.client() as client, addon.http() as http:
        client.create_log_table("shop", "guarded")
        _import(client, "guarded", [{"time": NOW, "n": 1}])
        key = http.post("/v3/user/apikey/add/local", data={"right": "read"}).json()["apikey"]
        with addon.client(key) as reader:
            assert _rows(reader, "SELECT count(*) FROM guarded") == [[1]]
            with pytest.raises(ForbiddenError):
                reader.query("shop", "/* x */ DELETE FROM guarded", type="trino")
        headers = {"authorization": f"TD1 {key}"}
        assert (
            http.post("/api/tables/shop/guarded/pins", json={"name": "a"}, headers=headers).status_code == 403
        )
        assert _rows(client, "SELECT count(*) FROM guarded") == [[1]]


def test_an_analysis_that_asks_for_it_keeps_the_versions_of_its_manifest(addon: Running) -> None:
    with addon.client() as client, addon.http() as http:
        client.create_log_table("shop", "items")
        _import(client, "items", [{"time": NOW + n, "item": f"i{n % 3}", "amount": n} for n in range(9)])
        sql = "SELECT item, amount AS value FROM items"
        body = {"database": "shop", "inputs": {"items": sql}, "params": {"top": 1}, "pin": True}
        issued = http.post("/sluice/v1/analyses/ranking", json=body)
        assert issued.status_code < 300, issued.text
        number = issued.json()["job_id"]
        shown = http.get(f"/sluice/v1/analyses/{number}", params={"wait": "50"}).json()
        assert shown["status"] == "success", shown
        (pin,) = http.get("/api/tables/shop/items/pins").json()["pins"]
        assert (pin["name"], pin["rows"]) == (f"analysis-{number}", 9)
        assert http.post("/sluice/v1/analyses/ranking", json=body | {"pin": "yes"}).status_code in {400, 422}
