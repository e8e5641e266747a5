"""Two ingest nodes and one that answers, on a real PostgreSQL server; killed at any time."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.fleet import Fleet, Load, body_of, check, path_of
from tests.faults.live_addon import LiveAddon, framed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres import PostgresServer

_SQL = "select count(*) from events"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"), postgres_server.create("fleet"))
    made.add("front", "api,worker")
    made.add("one", "ingest")
    made.add("two", "ingest")
    try:
        yield made.start()
    finally:
        codes = made.stop()
    assert set(codes.values()) == {0}


def test_a_query_sees_every_nodes_rows_and_an_id_counts_once_wherever_it_is_sent(fleet: Fleet) -> None:
    front, one, two = fleet.nodes.values()
    front.make_table("everywhere", "events")
    uploads = [f"u{number}" for number in range(3)]
    with one.http() as first, two.http() as second:
        for number, upload in enumerate(uploads):
            for client in (first, second, first):
                client.put(path_of("everywhere", upload), content=body_of(upload)).raise_for_status()
            assert front.query(_SQL, "everywhere") == [[5 * (number + 1)]]
        other = second.put(path_of("everywhere", "u0"), content=body_of("other"))
        assert other.status_code == 409
        assert first.get("/v3/database/list").status_code == 404
        assert first.get("/readyz").status_code == 200
    check(front, "everywhere", set(uploads), set(uploads))


def test_a_table_made_anew_has_nothing_of_the_dropped_one_and_all_that_comes_after(fleet: Fleet) -> None:
    front, one, two = fleet.nodes.values()
    front.make_table("anew", "events")
    with front.http() as client, one.http() as first, two.http() as second:
        for number in range(4):
            for ingest in (first, second):
                kept = ingest.put(path_of("anew", f"old{number}"), content=body_of(f"old{number}"))
                kept.raise_for_status()
            client.post("/v3/table/delete/anew/events").raise_for_status()
            client.post("/v3/table/create/anew/events/log").raise_for_status()
            for name, ingest in (("a", first), ("b", second)):
                ingest.put(path_of("anew", f"{name}{number}"), content=body_of(name)).raise_for_status()
            assert sorted(front.query("select distinct upload from events", "anew")) == [["a"], ["b"]]
    check(front, "anew", {"a", "b"}, {"a", "b"})


def test_nothing_is_lost_or_doubled_while_ingest_nodes_are_killed(fleet: Fleet) -> None:
    front, one, two = fleet.nodes.values()
    front.make_table("killed", "events")
    with Load([one, two], front.keys["td_api_key"], "killed") as load:
        for victim in (one, two):
            time.sleep(0.8)
            victim.kill()
            victim.start()
    check(front, "killed", load.acked, load.sent)
    assert load.acked


def test_a_node_that_is_away_is_told_and_its_rows_come_back_with_it(fleet: Fleet) -> None:
    front, one, two = fleet.nodes.values()
    front.make_table("away", "events")
    question = {"sql": _SQL, "database": "away"}
    with front.http() as client, one.http() as first, two.http() as second:
        assert first.put(path_of("away", "a"), content=body_of("a")).status_code == 200
        one.kill()
        answer = client.post("/sluice/v1/query", json=question)
        assert answer.status_code == 200
        assert one.url in answer.headers["sluice-warning"]
        job = client.post("/v3/job/issue/trino/away", data={"query": _SQL}).json()["job_id"]
        shown = _ended(client, job)
        assert shown["status"] == "success"
        assert one.url in shown["debug"]["stderr"]
        assert second.put(path_of("away", "b"), content=body_of("b")).status_code == 200
        one.start()
        again = client.post("/sluice/v1/query", json=question)
        assert "sluice-warning" not in again.headers
        assert again.json()["rows"] == [[10]]
        assert one.stop() == 0
        assert "sluice-warning" not in client.post("/sluice/v1/query", json=question).headers
        one.start()


def test_a_deprovisioned_account_is_gone_from_every_node(fleet: Fleet) -> None:
    front, one, two = fleet.nodes.values()
    path, (user, secret), key = front.drain()
    headers = {"content-type": "application/logplex-1"}
    body = framed(["MARKER-OF-A-GONE-ACCOUNT-42"])
    for node in (one, two):
        sent = httpx.post(node.url + path, content=body, headers=headers, auth=(user, secret))
        assert sent.status_code == 204, sent.text
    assert front.query("select count(*) from app", "logs", key) == [[2]]
    auth = (front.keys["provider_user"], front.keys["provider_password"])
    accept = {"accept": "application/vnd.heroku-addons+json; version=3"}
    uuid = path.rpartition("/")[2]
    gone = httpx.delete(f"{front.url}/heroku/resources/{uuid}", auth=auth, headers=accept, timeout=30)
    assert gone.is_success
    time.sleep(1.1)  # what the other nodes may still have in mind
    for node in (one, two):
        assert (
            httpx.post(node.url + path, content=body, headers=headers, auth=(user, secret)).status_code == 410
        )
    account = key.partition("/")[0]
    assert not (fleet.folder / "shared" / "warehouse" / account).exists()
    files = [file for file in fleet.folder.rglob("*") if file.is_file() and file.suffix != ".log"]
    assert [file for file in files if b"MARKER-OF-A-GONE-ACCOUNT-42" in file.read_bytes()] == []


def test_a_job_is_killed_through_a_node_that_does_not_run_it(fleet: Fleet) -> None:
    front, one, _ = fleet.nodes.values()
    front.make_table("slow", "events")
    with _one_more(fleet, "back", "api,worker", SLUICE_ADDON_JOB_SLOTS="0") as back:
        with one.http() as client:
            client.put(path_of("slow", "a"), content=body_of("a")).raise_for_status()
        sql = "select max(a.range * b.range % 7) from range(100000000) a, range(1000) b"
        with back.http() as client:
            job = client.post("/v3/job/issue/duckdb/slow", data={"query": sql})
            assert job.status_code == 200, job.text
            number = job.json()["job_id"]
            while client.get(f"/v3/job/status/{number}").json()["status"] == "queued":
                time.sleep(0.05)
            client.post(f"/v3/job/kill/{number}").raise_for_status()
            assert _ended(client, number)["status"] == "killed"


@contextmanager
def _one_more(fleet: Fleet, name: str, role: str, **environment: str) -> Iterator[LiveAddon]:
    """Have another node for a while; the other tests count on three."""
    node = fleet.add(name, role, **environment).start()
    try:
        yield node
    finally:
        code = node.stop()
        del fleet.nodes[name]
    assert code == 0


def _ended(client: httpx.Client, job: str) -> dict[str, Any]:
    while (shown := client.get(f"/v3/job/show/{job}").json())["status"] in {"queued", "running"}:
        time.sleep(0.1)
    found: dict[str, Any] = shown
    return found
