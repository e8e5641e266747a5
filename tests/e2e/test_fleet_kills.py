"""The long run: a fleet whose nodes are killed at random while its database restarts now and then."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.fleet import Fleet, Load, check
from tests.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_KILLS = 40
_RESTART_EVERY = 8


def kill_at_random(fleet: Fleet, server: PostgresServer, kills: int, seed: int) -> int:
    """Kill ingest nodes, start them again at once or after their lease; return the database's restarts."""
    rng, restarts = random.Random(seed), 0  # noqa: S311 - repeatable
    for number in range(1, kills + 1):
        time.sleep(rng.uniform(0.0, 1.0))
        victim = fleet.nodes[rng.choice(["one", "two"])]
        victim.kill()
        if number % _RESTART_EVERY == 0:
            server.stop(rng.choice(["fast", "immediate"]))
            server.start()
            restarts += 1
        if number % (_RESTART_EVERY + 1) == 0:
            time.sleep(11.0)  # so that its claims are taken over
        victim.start()
    return restarts


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_fleet_loses_and_doubles_nothing_over_many_kills_and_database_restarts(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    server = PostgresServer(durable=True)
    server.start()
    fleet = Fleet(tmp_path, server.create("kills"))
    for name, role in (("front", "api,worker"), ("one", "ingest"), ("two", "ingest")):
        fleet.add(name, role)
    try:
        front, one, two = fleet.start().nodes.values()
        front.make_table("killed", "events")
        baseline = threading.active_count()
        with Load([one, two], front.keys["td_api_key"], "killed") as load:
            restarts = kill_at_random(fleet, server, _KILLS, seed=20_261_125)
        assert threading.active_count() == baseline
        check(front, "killed", load.acked, load.sent)
        summary = (
            f"{_KILLS} kills, {restarts} database restarts, {len(load.acked)} acked,"
            f" {load.repeats} repeated elsewhere, 0 lost, 0 doubled"
        )
        record_property("result", summary)
        print(summary)  # noqa: T201 - the figure that the run is for
    finally:
        fleet.stop()
        server.remove()
