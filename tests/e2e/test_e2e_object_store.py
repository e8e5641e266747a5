"""The add-on over an S3-compatible store that is killed, restarted and broken while it works."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from deltalake import DeltaTable

from tests.faults.live_addon import LiveAddon, gzipped
from tests.faults.s3_proxy import Fault, Rule, S3Proxy
from tests.object_servers import ObjectServer, localbucket, moto
from tests.ports import free_base

ROWS = 50
_FOREVER = 10**9


def environment(url: str, prefix: str) -> dict[str, str]:
    return {
        "SLUICE_ADDON_STORE_URL": f"s3://warehouse/{prefix}",
        "SLUICE_ADDON_STORE_ENDPOINT": url,
        "SLUICE_ADDON_STORE_REGION": "us-east-1",
        "SLUICE_ADDON_STORE_ACCESS_KEY": "test",
        "SLUICE_ADDON_STORE_SECRET_KEY": "testtest",
        "SLUICE_ADDON_STORE_ALLOW_HTTP": "true",
    }


def send(addon: LiveAddon, number: int) -> httpx.Response:
    rows = [{"time": 1_700_000_000 + row, "id": f"{number}-{row}"} for row in range(ROWS)]
    with addon.http() as client:
        path = f"/v3/table/import_with_id/shop/events/b{number}/msgpack.gz"
        return client.put(path, content=gzipped(rows))


def counted(addon: LiveAddon) -> list[list[int]]:
    return addon.query("select count(*), count(distinct id) from events", "shop")


@pytest.fixture(scope="module")
def memory_server() -> Iterator[ObjectServer]:
    with moto(free_base()) as server:
        yield server


def test_rows_are_in_the_bucket_and_queries_read_them_in_the_sandbox(
    memory_server: ObjectServer, tmp_path: Path
) -> None:
    addon = LiveAddon(tmp_path / "home", **environment(memory_server.url, "live"))
    try:
        addon.start()
        addon.make_table("shop", "events")
        assert send(addon, 0).status_code == 200
        assert counted(addon) == [[ROWS, ROWS]]
        addon.kill()
        shutil.rmtree(tmp_path / "home" / "addon" / "object-cache")
        addon.start()  # what is cached is nothing that must last
        assert send(addon, 1).status_code == 200
        assert counted(addon) == [[2 * ROWS, 2 * ROWS]]
    finally:
        addon.stop()
    place = memory_server.place("live")
    options = {f"aws_{name}": value for name, value in place.config().items()} | {"aws_allow_http": "true"}
    account = next((tmp_path / "home" / "addon" / "object-cache").glob("[0-9]*")).name
    table = DeltaTable(f"s3://warehouse/live/{account}/shop/events", storage_options=options)
    assert table.to_pyarrow_table().num_rows == 2 * ROWS
    assert not (tmp_path / "home" / "addon" / "warehouse").exists()
    assert "testtest" not in addon.log.read_text()


@pytest.mark.slow
def test_a_store_without_conditional_puts_stops_the_program_with_a_sentence(
    memory_server: ObjectServer, tmp_path: Path
) -> None:
    with S3Proxy(memory_server.port, strip_conditions=True) as proxy:
        addon = LiveAddon(tmp_path / "home", **environment(proxy.url, "refused"))
        with pytest.raises(AssertionError, match="does not honour If-None-Match"):
            addon.start()
        addon.stop()


@pytest.mark.slow
def test_acks_go_on_while_the_store_is_away_and_the_rows_follow(tmp_path: Path) -> None:
    """The WAL is local: an outage of the store delays rows, and loses and doubles none."""
    with localbucket(free_base(), tmp_path / "buckets") as server, S3Proxy(server.port) as proxy:
        addon = LiveAddon(tmp_path / "home", **environment(proxy.url, "live"))
        try:
            addon.start()
            addon.make_table("shop", "events")
            for number in range(5):
                assert send(addon, number).status_code == 200
            assert counted(addon) == [[5 * ROWS, 5 * ROWS]]
            server.kill()
            for number in range(5, 10):
                assert send(addon, number).status_code == 200
            with addon.http() as client:
                body = {"sql": "select count(*) from events", "database": "shop"}
                answer = client.post("/sluice/v1/query", json=body, timeout=60)
            assert answer.status_code == 503
            assert "cannot be stored at the moment" in answer.text
            server.start()
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert counted(addon) == [[10 * ROWS, 10 * ROWS]]
                    break
                except AssertionError:
                    assert time.monotonic() < deadline
            proxy.rules[:] = [Rule(Fault.LOST_RESPONSE, "PUT", left=1) for _ in range(5)]
            for number in range(10, 15):
                assert send(addon, number).status_code == 200
            addon.kill()
            proxy.rules.clear()
            addon.start()
            assert counted(addon) == [[15 * ROWS, 15 * ROWS]]
        finally:
            addon.stop()
