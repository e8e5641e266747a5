"""What must go does go: deprovisioned data in spite of failures, old results, leftovers of a crash."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from addon.models.jobs import JobOutcome, JobRequest, JobState
from addon.models.tables import TableRef
from addon.provisioning.credentials import Credentials
from addon.provisioning.provider import Gone, Provider, Rooms, parse_provision
from addon.provisioning.upkeep import KEEP_RESULTS_S, Upkeep
from addon.store.accounts import AccountStore
from addon.store.audit import AuditLog
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.jobs import JobStore
from addon.store.resources import ResourceStore
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Forbidden, InvalidInput, NotFound
from platform_core.base.ids import is_uuid

if TYPE_CHECKING:
    from pathlib import Path

UUID = "01234567-89ab-cdef-0123-456789abcdef"
BODY = {"uuid": UUID, "name": "acme", "plan": "nano"}
MARKER = "marker-of-the-deprovisioned"


class Others:
    """Warehouse, ingestor and pool in one: they only say what was asked of them, or fail."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing = False

    def drop_account(self, account_id: int) -> None:
        if self.failing:
            raise OSError(5, "the disk is unwell")
        self.asked.append(f"drop {account_id}")

    def erase(self, account_id: int) -> None:
        self.asked.append(f"erase {account_id}")

    async def flush(self, account_id: int) -> tuple[str, ...]:
        self.asked.append(f"flush {account_id}")
        return ()

    async def close_account(self, account_id: int) -> None:
        self.asked.append(f"close {account_id}")


@dataclass
class House:
    """The provider over real stores."""

    home: Path
    clock: FixedClock
    database: Database
    provider: Provider
    rooms: Rooms
    others: Others

    def upkeep(self) -> Upkeep:
        return Upkeep(self.provider, self.rooms.jobs, self.rooms.audit, self.rooms.folders, self.clock)

    def provision(self) -> int:
        asyncio.run(self.provider.provision(BODY))
        resource = self.rooms.resources.get(UUID)
        assert resource is not None
        return resource.account.id


@pytest.fixture
def house(tmp_path: Path) -> House:
    clock = FixedClock(1_780_000_000.0)
    database = Database(f"sqlite:///{tmp_path}/a.db")
    database.migrate()
    folders = (tmp_path / "results", tmp_path / "scratch")
    for folder in folders:
        folder.mkdir()
    others = Others()
    everything = cast("Any", others)
    rooms = Rooms(
        ResourceStore(database, clock),
        AccountStore(database, clock),
        SqlCatalog(database, clock),
        JobStore(database, clock),
        AuditLog(database, clock),
        everything,
        everything,
        everything,
        folders,
        (others.erase,),
    )
    provider = Provider(rooms, Credentials("p", "s", "r", "l"), "http://127.0.0.1:1", "localhost:2")
    return House(tmp_path, clock, database, provider, rooms, others)


def _job(house: House, account_id: int, query: str) -> None:
    house.rooms.jobs.issue(JobRequest(account_id, "trino", "shop", query, 1))
    claimed = house.rooms.jobs.claim("w")
    assert claimed is not None
    assert house.rooms.jobs.finish(claimed, JobOutcome(JobState.SUCCESS, cmdout=query))


def test_a_deprovisioned_accounts_traces_are_gone_from_every_file(house: House) -> None:
    account_id = house.provision()
    house.rooms.catalog.ensure_table(TableRef(account_id, "shop", "events"))
    for index in range(12):
        _job(house, account_id, f"select '{MARKER} {index}'")
    for folder in house.rooms.folders:
        (folder / str(account_id)).mkdir()
        (folder / str(account_id) / "1.1.msgpack.gz").write_text(MARKER)
    asyncio.run(house.provider.deprovision(UUID))
    assert house.others.asked == [f"{step} {account_id}" for step in ("close", "flush", "erase", "drop")]
    for file in house.home.rglob("*"):
        assert file.is_dir() or MARKER.encode() not in file.read_bytes(), file
    assert house.rooms.resources.unpurged() == []
    with pytest.raises(Gone):
        asyncio.run(house.provider.deprovision(UUID))


def test_a_purge_that_fails_is_tried_again_until_it_is_done(house: House) -> None:
    account_id = house.provision()
    _job(house, account_id, "select 1")
    house.others.failing = True
    asyncio.run(house.provider.deprovision(UUID))  # the platform hears of success: the keys are dead
    assert house.rooms.accounts.identify(house.provider.api_key(house.rooms.resources.unpurged()[0])) is None
    asyncio.run(house.upkeep().round())
    assert len(house.rooms.resources.unpurged()) == 1
    with pytest.raises(Gone):
        asyncio.run(house.provider.find(UUID.upper()))
    house.others.failing = False
    asyncio.run(house.upkeep().round())
    assert house.rooms.resources.unpurged() == []
    with pytest.raises(NotFound):
        house.rooms.jobs.get(account_id, 1)


def test_rows_that_come_late_do_not_bring_an_account_back(house: House) -> None:
    account_id = house.provision()
    asyncio.run(house.provider.deprovision(UUID))
    with pytest.raises(Forbidden):
        house.rooms.catalog.ensure_table(TableRef(account_id, "logs", "app"))
    assert house.rooms.catalog.table_refs(account_id) == []


def test_each_round_tells_whether_the_audit_log_was_changed(house: House) -> None:
    house.provision()
    with capture_logs() as logs:
        asyncio.run(house.upkeep().round())
        assert logs == []
        with house.database.write() as connection:
            connection.execute(sa.text("update audit set actor = 'nobody'"))
        asyncio.run(house.upkeep().round())
    assert [(entry["event"], entry["first_row"]) for entry in logs] == [("audit_log_changed", 1)]
    assert house.rooms.audit.broken == 1


def test_old_jobs_and_their_files_go_and_young_ones_stay(house: House) -> None:
    account_id = house.provision()
    _job(house, account_id, "old")
    house.clock.advance(KEEP_RESULTS_S + 1)
    _job(house, account_id, "young")
    results = house.rooms.folders[0] / str(account_id)
    results.mkdir()
    now = house.clock.now()
    for name, age in (("old", KEEP_RESULTS_S + 1), ("young", 10.0)):
        (results / name).write_text(name)
        os.utime(results / name, (now - age, now - age))
    asyncio.run(house.upkeep().round())
    assert [file.name for file in results.iterdir()] == ["young"]
    found, total = house.rooms.jobs.list(account_id, first=0, last=9)
    assert ([job.request.query for job in found], total) == (["young"], 1)


def test_what_a_crash_left_half_written_goes_at_the_start(house: House) -> None:
    results, scratch = (folder / "1" for folder in house.rooms.folders)
    (scratch / "1.1" / "in").mkdir(parents=True)
    (scratch / "2.1" / "out").mkdir(parents=True)
    (scratch / "2.1" / "out" / "manifest.json").write_text("{}")
    results.mkdir()
    for name in ("1.1.msgpack.part", "2.1.msgpack.gz"):
        (results / name).write_text("")

    async def start_and_stop() -> None:
        upkeep = house.upkeep()
        await upkeep.start()
        await upkeep.close()

    asyncio.run(start_and_stop())
    left = {str(file.relative_to(house.home)) for file in house.home.rglob("*.*") if "a.db" not in file.name}
    assert left == {"results/1/2.1.msgpack.gz", "scratch/1/2.1", "scratch/1/2.1/out/manifest.json"}


def test_the_first_versions_body_gets_a_uuid_of_ours() -> None:
    old = {"heroku_id": "app1@kensa.heroku.com", "plan": "nano", "logplex_token": None, "options": {}}
    assert is_uuid(parse_provision(old).uuid)
    for body in (
        {"plan": "nano"},
        {**BODY, "uuid": 7},
        {**BODY, "uuid": "../x"},
        {**BODY, "options": ["x"]},
        {**BODY, "plan": 1},
        {**BODY, "name": "a\0b"},
        {**BODY, "log_drain_token": "d." * 40},
        {**BODY, "region": "r" * 65},
    ):
        with pytest.raises(InvalidInput):
            parse_provision(body)
