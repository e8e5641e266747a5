"""Deliveries on their way: one that fails stops no other, pauses grow, a refusal ends it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from addon.api import health
from addon.models.jobs import JobRequest
from addon.models.reports import DeliveryState, Window
from addon.models.schedules import REPORT
from addon.schedules.deliveries.port import NotDelivered, Refused
from addon.schedules.reports.folders import ReportFolders
from addon.schedules.reports.outbox import PAUSES_S, Outbox
from addon.schedules.reports.secrets import SecretBox
from addon.schedules.reports.service import Reports
from addon.store.accounts import AccountStore
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.deliveries import DeliveryStore
from addon.store.jobs import JobStore
from addon.store.reports import Planned, ReportStore
from platform_core.base.clock import FixedClock
from platform_core.base.errors import Forbidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from addon.models.reports import ReportRun
    from addon.schedules.deliveries.port import Parcel


@dataclass
class Scripted:
    """A way out that does what it is told, attempt by attempt."""

    type: ClassVar[str] = "scripted"
    secrets: ClassVar[frozenset[str]] = frozenset({"secret"})
    script: dict[str, list[BaseException | Callable[[], Any]]] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def check(self, settings: Mapping[str, Any]) -> None:
        """Take anything."""

    def target(self, settings: Mapping[str, Any]) -> str:
        return str(settings["to"])

    async def deliver(self, parcel: Parcel, settings: Mapping[str, Any]) -> None:
        self.seen.append((settings["to"], parcel.key))
        steps = self.script.get(settings["to"], [])
        step = steps.pop(0) if steps else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            await step()


class Rig:
    def __init__(self, home: Path, database: Database) -> None:
        self.clock = FixedClock(1_800_000_000.0)
        accounts = AccountStore(database, self.clock)
        self.account, _ = accounts.ensure_local("local", "premium", "secret")
        self.way = Scripted()
        ways: dict[str, Any] = {"scripted": self.way}
        self.store, self.queue = ReportStore(database, self.clock), DeliveryStore(database, self.clock)
        folders = ReportFolders(home / "reports")
        catalog = SqlCatalog(database, self.clock, keep_s=0.0)
        self.reports = Reports(self.store, ways, SecretBox("5e" * 32), folders, catalog, "http://s")
        self.outbox = Outbox(self.queue, self.store, accounts, self.reports, folders, ways, self.clock)
        self.jobs = JobStore(database, self.clock)
        self.folders = folders

    def finished(self, *names: str) -> ReportRun:
        """Return a rendered run whose deliveries wait."""
        deliveries = [{"type": "scripted", "name": name, "to": name, "secret": "x"} for name in names]
        analysis = {"analysis": "ranking", "inputs": {"items": "SELECT 1 AS item, 2 AS time"}}
        self.reports.put(self.account, "daily", {"analyses": [analysis], "deliveries": deliveries})
        job = self.jobs.issue(JobRequest(self.account.id, REPORT, "", "daily", 1))
        run = self.store.begin(replace(job, epoch=1), 1, 0, Window(None, None, ""))
        folder, name = self.folders.fresh(run)
        (folder / "report.json").write_text(json.dumps({"incomplete": [], "sections": []}))
        assert self.store.finish(run, name, {}, [Planned(one, "scripted", one) for one in names])
        return self.store.run(self.account.id, "daily", run.id)

    def states(self, run: ReportRun) -> dict[str, tuple[DeliveryState, int, str]]:
        return {one.name: (one.state, one.attempts, one.error) for one in self.outbox.of(run)}

    def attempt(self, run: ReportRun) -> None:
        asyncio.run(self.outbox.attempt(run, asyncio.Event()))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    database = Database(f"sqlite:///{tmp_path}/addon.db")
    database.migrate()
    yield Rig(tmp_path, database)
    database.close()


def test_one_that_fails_stops_no_other(rig: Rig) -> None:
    run = rig.finished("good", "busy", "no", "forbidden", "broken")
    rig.way.script = {
        "busy": [NotDelivered("later")],
        "no": [Refused("never")],
        "forbidden": [Forbidden("not there")],
        "broken": [ZeroDivisionError()],
    }
    rig.attempt(run)
    assert rig.states(run) == {
        "good": (DeliveryState.DELIVERED, 1, ""),
        "busy": (DeliveryState.PENDING, 1, "later"),
        "no": (DeliveryState.FAILED, 1, "never"),
        "forbidden": (DeliveryState.FAILED, 1, "not there"),
        "broken": (DeliveryState.PENDING, 1, "It failed for a reason of ours; see the service's log."),
    }
    stats = rig.outbox.stats
    counts = (stats.attempted, stats.delivered, stats.failed, stats.dead)
    assert [one["scripted"] for one in counts] == [5, 1, 4, 2]
    assert 'sluice_report_deliveries_dead_total{type="scripted"} 2' in health.report_lines(stats)


def test_every_attempt_has_the_same_key_and_the_last_one_gives_up_after_a_day(rig: Rig) -> None:
    run = rig.finished("busy")
    rig.way.script = {"busy": [NotDelivered("later") for _ in range(99)]}
    began = rig.clock.now()
    rig.attempt(run)
    for pause in PAUSES_S:
        rig.clock.advance(pause - 0.5)
        rig.attempt(run)  # too early
        assert len(rig.way.seen) == PAUSES_S.index(pause) + 1 or PAUSES_S.count(pause) > 1
        rig.clock.advance(0.5)
        rig.attempt(run)
    assert rig.states(run) == {"busy": (DeliveryState.FAILED, len(PAUSES_S) + 1, "later")}
    assert set(rig.way.seen) == {("busy", f"report-run-{run.id}-busy")}
    assert len(rig.way.seen) == len(PAUSES_S) + 1
    assert 20 * 3_600 < rig.clock.now() - began < 26 * 3_600


def test_a_receiver_may_ask_for_a_longer_pause(rig: Rig) -> None:
    run = rig.finished("busy")
    rig.way.script = {"busy": [NotDelivered("later", after_s=900.0)]}
    rig.attempt(run)
    (waiting,) = rig.outbox.of(run)
    assert waiting.next_at == rig.clock.now() + 900


def test_a_process_that_dies_in_an_attempt_leaves_it_to_the_next_one(rig: Rig) -> None:
    run = rig.finished("slow")

    async def main() -> None:
        hangs = asyncio.Event()

        async def hang() -> None:
            hangs.set()
            await asyncio.Event().wait()

        rig.way.script = {"slow": [hang]}
        task = asyncio.create_task(rig.outbox.attempt(run, asyncio.Event()))
        await hangs.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert rig.states(run) == {"slow": (DeliveryState.PENDING, 1, "")}
    rig.attempt(run)
    assert len(rig.way.seen) == 1  # the lease holds
    rig.clock.advance(301)
    rig.attempt(run)
    assert rig.states(run) == {"slow": (DeliveryState.DELIVERED, 2, "")}


async def _until(rig: Rig, run: ReportRun, states: set[DeliveryState]) -> None:
    async with asyncio.timeout(60):
        while {state for state, _, _ in rig.states(run).values()} != states:  # noqa: ASYNC110  (a row has no event)
            await asyncio.sleep(0.02)


def test_the_background_makes_what_the_job_left_and_what_is_asked_for_again(rig: Rig) -> None:
    run = rig.finished("one", "two")
    rig.way.script = {"two": [Refused("never")]}

    async def main() -> None:
        await rig.outbox.start()
        rig.clock.advance(61)
        assert rig.outbox.again(run) == 2  # wakes it, too
        await _until(rig, run, {DeliveryState.DELIVERED, DeliveryState.FAILED})
        rig.outbox.again(run)
        await _until(rig, run, {DeliveryState.DELIVERED})
        await rig.outbox.close()

    asyncio.run(main())
    assert sorted(name for name, _ in rig.way.seen) == ["one", "two", "two"]


def test_a_delivery_that_the_definition_lost_is_given_up(rig: Rig) -> None:
    run = rig.finished("old")
    rig.reports.put(rig.account, "daily", {
        "analyses": [{"analysis": "ranking", "inputs": {"items": "SELECT 1 AS item, 2 AS time"}}],
    })  # fmt: skip
    rig.attempt(run)
    assert rig.states(run)["old"][0] is DeliveryState.FAILED
    assert "no such delivery" in rig.states(run)["old"][2]
