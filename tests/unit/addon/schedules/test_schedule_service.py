"""What users do with schedules: changes that keep or restart the slot, runs on demand, limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from addon.models.accounts import PLANS
from addon.models.tables import TableRef
from addon.schedules.service import Schedules
from addon.store.catalog import SqlCatalog
from platform_core.base.errors import InvalidInput, NotFound, TooLarge, Unavailable
from tests.unit.addon.schedules.rig import START, Rig, spec

FIVE = 300
FIRST = START - START % FIVE + FIVE


def test_a_change_of_the_query_keeps_the_slot_that_is_due_but_delayed(rig: Rig) -> None:
    rig.make(delay_s=120)
    rig.move_to(FIRST + 60)
    changed = rig.schedules.update(rig.account, "s", {"query": "SELECT 2"})
    assert (changed.next_slot, changed.starts_at) == (FIRST, FIRST + 120)
    assert rig.schedules.update(rig.account, "s", {"delay_s": 70}).starts_at == FIRST + 70
    assert rig.scheduler.round() == FIRST + 70


@pytest.mark.parametrize(
    ("changes", "following"),
    [
        ({"cron": "*/10 * * * *"}, FIRST - FIRST % 600 + 600),
        ({"timezone": "Asia/Kathmandu"}, FIRST + FIVE),
        ({"enabled": True}, FIRST + FIVE),
        ({"enabled": False}, None),
        ({"cron": ""}, None),
    ],
)
def test_another_cron_or_zone_or_enabling_begins_anew_from_now(
    rig: Rig, changes: dict[str, Any], following: int | None
) -> None:
    rig.make(delay_s=120)
    rig.move_to(FIRST + 1)
    assert rig.schedules.update(rig.account, "s", changes).next_slot == following
    last = None if changes.get("cron") == "" else FIRST
    assert rig.schedules.last_slot(rig.store.get(rig.account.id, "s")) == last


def test_slots_of_the_time_it_was_disabled_are_not_missed_ones(rig: Rig) -> None:
    schedule = rig.make(enabled=False)
    rig.move_to(FIRST + 3600)
    assert rig.scheduler.round() is None
    enabled = rig.schedules.update(rig.account, "s", {"enabled": True})
    assert (enabled.next_slot, enabled.missed) == (FIRST + 3600 + FIVE, 0)
    assert rig.decided(schedule) == []
    assert list(rig.schedules.coming(enabled, 3)) == [FIRST + 3600 + n * FIVE for n in (1, 2, 3)]


def test_runs_on_demand_leave_the_slots_own_job_alone_and_are_marked(rig: Rig) -> None:
    rig.make()
    jobs = [
        *rig.schedules.run(rig.account, "s", FIRST - 1, 2),
        *rig.schedules.run(rig.account, "s", FIRST, 1),
    ]
    assert [slot for slot, _ in jobs] == [FIRST, FIRST + FIVE, FIRST]
    rig.move_to(FIRST)
    rig.scheduler.round()
    runs, total = rig.schedules.history(rig.account, "s", 0, 9)
    assert total == 4
    assert [(run.slot, run.asked) for run in runs] == [
        (FIRST, False),
        (FIRST, True),
        (FIRST + FIVE, True),
        (FIRST, True),
    ]
    page, _ = rig.schedules.history(rig.account, "s", 1, 2)
    assert [run.job.id for run in page] == [run.job.id for run in runs[1:3]]


def test_a_saved_query_runs_for_one_time_at_once(rig: Rig) -> None:
    rig.make(cron="")
    assert [slot for slot, _ in rig.schedules.run(rig.account, "s", 123, 1)] == [123]
    with pytest.raises(InvalidInput, match="without a cron"):
        rig.schedules.run(rig.account, "s", 123, 2)


def test_a_plan_limits_how_many_schedules_there_are(rig: Rig) -> None:
    few = replace(rig.account, plan=replace(PLANS["nano"], schedules=2))
    for name in ("a", "b"):
        rig.schedules.create(few, spec(name))
    with pytest.raises(InvalidInput, match="nano has 2 schedules"):
        rig.schedules.create(few, spec("c"))
    rig.schedules.delete(few, "a")
    rig.schedules.create(few, spec("c"))
    assert [schedule.spec.name for schedule in rig.schedules.list(few)] == ["b", "c"]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"name": ""}, InvalidInput, "printable"),
    ({"name": "a\nb"}, InvalidInput, "printable"),
    ({"name": "n" * 256}, InvalidInput, "255"),
    ({"type": "pig"}, InvalidInput, "trino, presto, hive, duckdb, analysis, report"),
    ({"database": "No"}, InvalidInput, "database name"),
    ({"query": ""}, InvalidInput, "empty"),
    ({"query": "x" * (1 << 20) + "x"}, TooLarge, "1,048,576"),
    ({"delay_s": -1}, InvalidInput, "delay must be 0 to"),
    ({"priority": 3}, InvalidInput, "priority must be -2 to 2"),
    ({"retry_limit": -1}, InvalidInput, "retry_limit"),
    ({"catch_up": 1001}, InvalidInput, "catch_up must be 1 to 1000"),
    ({"params": {"a": 1}}, InvalidInput, "trino takes no params"),
    ({"type": "report", "query": "r", "params": {"a": 1}}, InvalidInput, "in its definition"),
    ({"type": "analysis", "query": "nonsense"}, NotFound, "no analysis"),
    ({"type": "analysis", "query": "ranking"}, InvalidInput, "inputs"),
    ({"cron": "0 0 31 2 *"}, InvalidInput, "Write five fields"),
    ({"timezone": "X"}, InvalidInput, "IANA"),
    ({"type": "analysis", "query": "ranking", "params": {"priority": 1}}, InvalidInput, "'priority'"),
]


def test_a_definition_that_cannot_run_is_refused_with_what_is_allowed(rig: Rig) -> None:
    rig.make()
    for fields, kind, why in WRONG:
        with pytest.raises(kind, match=why):
            rig.schedules.create(rig.account, replace(spec("other"), **fields))
        with pytest.raises(kind, match=why):
            rig.schedules.update(rig.account, "s", fields)
    assert [schedule.spec for schedule in rig.schedules.list(rig.account)] == [spec()]


def test_an_analysis_is_checked_when_it_is_scheduled_and_issued_as_its_own_job_type(rig: Rig) -> None:
    asked = {"inputs": {"items": "SELECT 'a' AS item, 1 AS time"}, "params": {"top": 3}}
    rig.make(type="analysis", query="ranking", params=asked)
    ((_, job),) = rig.schedules.run(rig.account, "s", FIRST, 1)
    request = job.request
    assert (request.type, request.query, request.scheduled_time) == ("analysis", "analysis ranking", FIRST)
    assert (request.params["name"], request.params["engine"]) == ("ranking", "duckdb")
    assert rig.schedules.update(rig.account, "s", {"cron": "@daily"}).spec.params == asked
    query = rig.schedules.update(rig.account, "s", {"type": "trino", "query": "SELECT 1"})
    assert query.spec.params == {}


def test_an_analysis_that_no_longer_fits_becomes_a_job_that_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"inputs": {"items": "SELECT 'a' AS item, 1 AS time"}}
    schedule = rig.make(type="analysis", query="ranking", params=asked)

    def refuse(*_: object) -> None:
        raise InvalidInput("ranking takes other inputs now.")

    monkeypatch.setattr("addon.schedules.planning.kept_request", refuse)
    rig.move_to(FIRST)
    rig.scheduler.round()
    assert rig.decided(schedule) == [FIRST]


def test_a_report_is_checked_by_its_own_room_and_issued_by_its_name(rig: Rig) -> None:
    known = {"weekly"}

    def find(_account: object, name: str) -> None:
        if name not in known:
            raise NotFound(f"There is no report {name}.")

    schedules = Schedules(rig.store, rig.clock, find)
    with pytest.raises(NotFound, match="no report monthly"):
        schedules.create(rig.account, spec(type="report", query="monthly"))
    schedules.create(rig.account, spec(type="report", query="weekly"))
    ((_, job),) = schedules.run(rig.account, "s", FIRST, 1)
    assert (job.request.type, job.request.query, job.request.params) == ("report", "weekly", {})


def test_an_update_that_others_overtake_again_and_again_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.make()
    stale = rig.store.get(rig.account.id, "s")
    rig.schedules.update(rig.account, "s", {"priority": 1})
    assert rig.schedules.update(rig.account, "s", {"delay_s": 5}).spec.priority == 1
    monkeypatch.setattr(rig.store, "get", lambda *_: stale)
    with pytest.raises(Unavailable, match="by others"):
        rig.schedules.update(rig.account, "s", {"delay_s": 6})


def test_tables_of_an_analysis_are_checked_where_they_are_there_and_kept_for_when_it_runs(rig: Rig) -> None:
    catalog = SqlCatalog(rig.database, rig.clock)
    catalog.create_database(rig.account.id, "shop")
    catalog.create_table(TableRef(rig.account.id, "shop", "orders"))
    schedules = Schedules(rig.store, rig.clock, catalog=catalog)
    fields: dict[str, Any] = {"type": "analysis", "query": "ranking", "database": "shop"}
    for tables, why in [
        ({"items": "orders"}, "needs item .* no column 'item'"),
        ({"nonsense": "orders"}, "no input nonsense"),
        ({"items": {"table": "orders", "column": {}}}, "is given as"),
        ([], "must be objects"),
    ]:
        with pytest.raises(InvalidInput, match=why):
            schedules.create(rig.account, spec(**fields, params={"tables": tables}))
    asked = {"tables": {"items": {"table": "later", "columns": {"item": "product"}}}, "params": {"top": 3}}
    schedules.create(rig.account, spec(**fields, params=asked))
    ((_, job),) = schedules.run(rig.account, "s", FIRST, 1)
    assert (job.request.params["inputs"], job.request.params["tables"]) == ({}, asked["tables"])
