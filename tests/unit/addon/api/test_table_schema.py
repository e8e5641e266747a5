"""``GET /api/tables/DATABASE/TABLE/schema`` of a running add-on: history and misfits, also over a kill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.live_addon import LiveAddon

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def addon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveAddon]:
    running = LiveAddon(tmp_path_factory.mktemp("schema") / "home").start()
    yield running
    running.kill()


def send(client: httpx.Client, text: str, table: str = "events") -> None:
    client.post(f"/api/import/shop/{table}", content=text, headers=NDJSON).raise_for_status()


def shown(client: httpx.Client, table: str = "events") -> dict[str, Any]:
    answer = client.get(f"/api/tables/shop/{table}/schema")
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def test_drift_is_shown_with_what_was_acknowledged_and_outlives_a_kill(addon: LiveAddon) -> None:
    with addon.http() as client:
        send(client, '{"n":1}\n')
        first = shown(client)
        assert [(one["name"], one["type"], one["misfits"]) for one in first["columns"]] == [
            ("time", "long", 0),
            ("n", "long", 0),
        ]
        send(client, '{"n":"x","N":1}\n{"n":1.5,"b":true,"b":false}\n')
        second = shown(client)
        columns = {one["name"]: one for one in second["columns"]}
        assert [step["type"] for step in columns["n"]["history"]] == ["long", "double"]
        assert columns["n"]["since"] == first["columns"][1]["since"] < columns["b"]["since"]
        assert (columns["n"]["misfits"], columns["b"]["misfits"]) == (1, 0)
        assert second["other_misfits"] == {"_duplicates": 1, "_overflow": 1}
        assert "sluice_ingest_misfits_total 3\n" in client.get("/metrics").text
        addon.kill()
        addon.start()
        assert shown(client) == second
        assert client.get("/api/tables/shop/none/schema").status_code == 404
        assert client.get("/api/tables/shop/events/schema", headers={"authorization": ""}).status_code == 401


def test_milliseconds_and_rows_of_too_many_keys_are_dead_letters_with_their_reasons(addon: LiveAddon) -> None:
    wide = "{" + ",".join(f'"k{n}":{n}' for n in range(20_000)) + "}"
    with addon.http() as client:
        send(client, f'{{"time":1700000000000,"n":1}}\n{wide}\n{{"n":2}}\n', "odd")
        assert shown(client, "odd")["rows"] == 1
        told = client.get("/metrics").text
    for reason in ("time_is_out_of_range", "too_many_columns"):
        assert f'sluice_ingest_dead_letters_by_reason_total{{reason="{reason}"}} ' in told
    reasons = addon.query("select reason from dead_letters order by 1", "logs")
    assert reasons == [["time_is_out_of_range"], ["too_many_columns: a row may have 2048"]]
