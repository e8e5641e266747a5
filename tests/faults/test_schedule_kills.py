"""Each slot becomes exactly one job: three schedulers, kill -9 at every step, a clock that jumps, autumn."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from itertools import takewhile
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from addon.models.schedules import ScheduleSpec
from addon.schedules.cron import Cron
from addon.schedules.service import Schedules
from addon.store.accounts import AccountStore
from addon.store.database import Database
from addon.store.schedules import ScheduleStore
from addon.store.schema import JOBS, SCHEDULE_RUNS, SCHEDULES
from platform_core.base.clock import FixedClock
from tests.faults.schedule_kills import POINTS, START

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.schedules import Schedule
    from tests.postgres import PostgresServer

_NUMBERS = itertools.count()
WANTED = [
    ("* * * * *", "UTC", 0),
    ("*/5 * * * *", "Asia/Kathmandu", 0),
    ("0 * * * *", "America/New_York", 30),
    ("30 1 * * *", "America/New_York", 0),
    ("*/7 * * * *", "Europe/Berlin", 600),
]


def _make_schedules(url: str) -> list[Schedule]:
    database, clock = Database(url), FixedClock(START)
    database.migrate()
    account, _ = AccountStore(database, clock).ensure_local("local", "premium", "a" * 64)
    service = Schedules(ScheduleStore(database, clock), clock)
    made = [
        service.create(
            account,
            ScheduleSpec(f"s{n}", cron, zone, "trino", "shop", f"SELECT {n}", delay_s=delay, catch_up=1000),
        )
        for n, (cron, zone, delay) in enumerate(WANTED)
    ]
    database.close()
    return made


def _kill(url: str, kills: int, seed: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.schedule_kills", url, str(kills), str(seed)],
        capture_output=True,
        text=True,
        timeout=1_500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])  # log lines before it
    return found


def _check(url: str, made: list[Schedule], ended: float) -> int:
    """Check that the jobs are those of the slots, one each; return how many there are."""
    database = Database(url)
    with database.read() as connection:
        missed = {row.id: row.missed for row in connection.execute(sa.select(SCHEDULES))}
        runs = connection.execute(sa.select(SCHEDULE_RUNS)).all()
        jobs = {
            row.id: row
            for row in connection.execute(sa.select(JOBS.c.id, JOBS.c.query, JOBS.c.scheduled_time))
        }
    database.close()
    slots = 0
    for schedule in made:
        spec, until = schedule.spec, ended - schedule.spec.delay_s
        expected = list(
            takewhile(lambda at, until=until: at <= until, Cron(spec.cron, spec.timezone).after(START))
        )
        mine = [run for run in runs if run.schedule_id == schedule.id]
        decided = [run.slot for run in mine]
        assert len(set(decided)) == len(decided)
        assert set(decided) <= set(expected)
        assert len(decided) + missed[schedule.id] == len(expected)  # none are missed but on a slow machine
        for run in mine:
            job = jobs.pop(run.job_id)
            assert (job.query, job.scheduled_time) == (spec.query, run.slot)
        slots += len(decided)
    assert jobs == {}
    return slots


def _count(url: str, kills: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    made = _make_schedules(url)
    told = _kill(url, kills, seed)
    slots = _check(url, made, float(str(told["ended"])))
    sys.stdout.write(f"seed {seed}: {told['kills']} kills, {slots} slots, 0 lost, 0 doubled\n")
    died = told["kills"]
    assert isinstance(died, dict)
    assert sum(died.values()) == kills
    assert slots > 60  # an hour of minutes alone
    if kills >= 100:
        assert {*POINTS, "anywhere"} <= died.keys()


def test_each_slot_is_one_job_through_kills_on_sqlite(tmp_path: Path) -> None:
    _count(f"sqlite:///{tmp_path}/addon.db", 8)


def test_each_slot_is_one_job_through_kills_on_postgresql(postgres_server: PostgresServer) -> None:
    _count(postgres_server.create(f"schedules_{next(_NUMBERS)}"), 6)


@pytest.mark.slow
@pytest.mark.timeout(1_600)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_slot_is_one_job_through_two_hundred_kills(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        _count(f"sqlite:///{tmp_path}/addon.db", 200)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        _count(server.create(f"schedules_{next(_NUMBERS)}"), 200)
