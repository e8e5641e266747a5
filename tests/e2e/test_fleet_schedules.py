"""Three whole nodes catch up with slots on one PostgreSQL server, and die in the middle of issuing them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from addon.store.database import Database
from tests.e2e.fleet import Fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.live_addon import LiveAddon
    from tests.postgres import PostgresServer

_SLOTS = 25
"""Per schedule; together they are more than fit into the account's queue at once."""
_NAMES = [f"s{number}" for number in range(6)]
_DIES = {
    "one": "schedule.issue:abort@9",
    "two": "schedule.claim:abort@17",
    "three": "schedule.issued:abort@25",
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_slot_of_an_outage_is_one_job_that_ran_while_three_nodes_die(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    url = postgres_server.create("fleet_schedules")
    fleet = Fleet(tmp_path, url)
    for name, point in _DIES.items():
        fleet.add(name, "ingest,api,worker" if name == "one" else "api,worker", SLUICE_FAILPOINT=point)
    try:
        fleet.start()
        one, *_ = fleet.nodes.values()
        one.make_table("shop", "events")
        first = _make_schedules(one)
        _rewind(url)
        deadline = time.monotonic() + 600
        restarted: set[str] = set()
        while not _settled(fleet, url):
            assert time.monotonic() < deadline
            restarted |= _start_again(fleet)
            time.sleep(0.5)
        assert restarted == set(_DIES), "every node has died once"
        for name in _NAMES:
            runs = _history(one, name)
            slots = sorted(run["scheduled_at"] for run in runs)
            assert len(slots) == len(set(slots)) >= _SLOTS
            assert [run["asked"] for run in runs if run["asked"]] == []
            assert {run["status"] for run in runs} == {"success"}
            assert slots[_SLOTS] == first[name] if len(slots) > _SLOTS else slots[-1] < first[name]
            assert {run["num_records"] for run in runs} == {1}
    finally:
        codes = fleet.stop()
    assert set(codes.values()) == {0}


def _make_schedules(node: LiveAddon) -> dict[str, str]:
    """Make them, still; return each one's first slot."""
    first = {}
    with node.http() as client:
        for name in _NAMES:
            fields = {
                "cron": "* * * * *",
                "type": "presto",
                "database": "shop",
                "query": "SELECT TD_SCHEDULED_TIME() AS slot, COUNT(1) AS n FROM events",
                "catch_up": 1000,
            }
            made = client.post(f"/v3/schedule/create/{name}", data=fields).raise_for_status().json()
            first[name] = str(made["next_time"])
    return first


def _rewind(url: str) -> None:
    """Make it as if nothing had run for some minutes."""
    database = Database(url)
    back = _SLOTS * 60
    with database.write() as connection:
        connection.execute(
            sa.text("UPDATE schedules SET next_slot = next_slot - :back, due_at = due_at - :back"),
            {"back": back},
        )
    database.close()


def _start_again(fleet: Fleet) -> set[str]:
    """Start the nodes that have died, with no failpoint; return their names."""
    dead = set()
    for name, node in fleet.nodes.items():
        if node.process is not None and node.process.poll() is not None:
            node.kill()
            del node.environment["SLUICE_FAILPOINT"]
            node.start()
            dead.add(name)
    return dead


def _settled(fleet: Fleet, url: str) -> bool:
    """Tell whether all nodes live, nothing is due, and every job has ended."""
    if any(node.process is None or node.process.poll() is not None for node in fleet.nodes.values()):
        return False
    database = Database(url)
    with database.read() as connection:
        due = connection.execute(
            sa.text("SELECT count(*) FROM schedules WHERE due_at < :now"), {"now": time.time()}
        ).scalar_one()
        running = connection.execute(
            sa.text("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')")
        ).scalar_one()
    database.close()
    return not due and not running


def _history(node: LiveAddon, name: str) -> list[dict[str, Any]]:
    with node.http() as client:
        found: list[dict[str, Any]] = client.get(f"/v3/schedule/history/{name}?from=0&to=999").json()[
            "history"
        ]
    return found
