"""A finished analysis is a table in every dialect: its own account's, unchangeable, gone with its job."""

# ruff: noqa: S608  # the texts are of these tests

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from addon.models.accounts import PLANS, Account, AccountState
from addon.models.jobs import JobOutcome, JobRequest, JobState
from addon.models.tables import TableRef
from addon.query.compile_main import compiled
from addon.query.dialects import CompiledQuery, compile_query
from addon.query.saved_runs import ANALYSIS, RunRef
from addon.query.service import Query
from addon.query.td_functions import Times
from platform_core.base.errors import Forbidden, InvalidInput, NotFound
from tests.unit.addon.query.table_rig import Rig, table_rig

if TYPE_CHECKING:
    from pathlib import Path

    from addon.models.jobs import Job

DIALECTS = ("trino", "presto", "hive", "duckdb")


def compile_(sql: str, dialect: str = "trino", *, deleting: bool = False) -> CompiledQuery:
    tables = {TableRef(1, "shop", "events")}
    times = Times(0, 0)
    return compile_query(sql, dialect, 1, "shop", tables.__contains__, times, deleting=deleting)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_run_is_read_and_joined_in_every_dialect(dialect: str) -> None:
    done = compile_(
        "SELECT e.a, p.share, run_42.paths.path FROM events e JOIN runs.run_42.paths p ON e.a = p.path"
        " JOIN runs.run_42.paths ON 1 = 1 WHERE e.time > 5",
        dialect,
    )
    assert done.runs == {"runs.42.paths": RunRef(42, "paths")}
    assert list(done.views) == ["shop.events"]
    assert '"runs.42.paths" AS' in done.sql
    assert "shop.events" in done.ranges
    quote = "`" if dialect == "hive" else '"'
    assert compile_(f"SELECT * FROM runs.{quote}42{quote}.paths", dialect).runs == done.runs


def test_a_long_text_is_compiled_elsewhere_to_the_same() -> None:
    answer = compiled(
        {
            "sql": "SELECT * FROM runs.run_42.paths",
            "dialect": "trino",
            "account_id": 1,
            "database": "shop",
            "tables": [],
            "times": [0, 0],
            "deleting": False,
        }
    )
    assert answer["runs"] == {"runs.42.paths": RunRef(42, "paths")}


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT * FROM runs.paths", NotFound),  # a database of that name, which there is not
        ("SELECT * FROM runs.run_x.paths", InvalidInput),
        ('SELECT * FROM runs.run_42."../../etc"', InvalidInput),
        ("SELECT * FROM runs.run_42.paths FOR VERSION AS OF 3", InvalidInput),
        ("SELECT * FROM other.run_42.paths", Forbidden),
    ],
)
def test_what_is_no_runs_name_is_refused(sql: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        compile_(sql)


def test_rows_of_a_run_are_not_deleted() -> None:
    with pytest.raises(Forbidden, match="cannot be deleted"):
        compile_("DELETE FROM runs.run_42.paths WHERE 1 = 1", deleting=True)
    assert compile_("DELETE FROM events WHERE a IN (SELECT path FROM runs.run_42.paths)", deleting=True).runs


def kept(rig: Rig, state: JobState = JobState.SUCCESS, **outputs: pa.Table) -> Job:
    """Keep a run of the rig's account."""
    rig.queue.issue(JobRequest(rig.account.id, ANALYSIS, "shop", "analysis paths", 9))
    job = rig.queue.claim("w")
    assert job is not None
    folder = rig.saved.folder(job)
    folder.mkdir(parents=True)
    for name, table in outputs.items():
        pq.write_table(table, folder / f"{name}.parquet")
    rig.queue.finish(job, JobOutcome(state))
    return rig.queue.get(rig.account.id, job.id)


def test_runs_are_selected_from_joined_and_kept_apart(tmp_path: Path) -> None:
    async def play() -> None:
        async with table_rig(tmp_path) as rig:
            rig.put('{"a":"x > y","time":5}', '{"a":"z","time":6}')
            paths = pa.table(
                {"path": ["x > y", "q"], "entities": pa.array([3, 1], pa.int64()), "share": [0.75, 0.25]}
            )
            job = kept(rig, paths=paths)
            name = f"runs.run_{job.id}.paths"
            for dialect in DIALECTS:
                assert await rig.ask(f"SELECT * FROM {name} ORDER BY entities", dialect) == [
                    ["q", 1, 0.25],
                    ["x > y", 3, 0.75],
                ]
            joined = f"SELECT e.time, p.entities FROM events e JOIN {name} p ON p.path = e.a"
            assert await rig.ask(joined) == [[5, 3]]
            for sql, reason in (
                (f"SELECT * FROM {name}s", "It has paths"),
                (f"SELECT * FROM runs.run_{job.id + 7}.paths", "does not exist"),
                (f"SELECT * FROM runs.run_{kept(rig, JobState.ERROR).id}.paths", "it is error"),
            ):
                with pytest.raises(NotFound, match=reason):
                    await rig.ask(sql)
            other = Account(rig.account.id + 1, None, "two", PLANS["premium"], AccountState.PROVISIONED, 0.0)
            with pytest.raises(NotFound, match="does not exist"):
                await rig.ask(f"SELECT * FROM {name}", account=other)

    asyncio.run(play())


def test_a_query_of_runs_alone_waits_for_no_log(tmp_path: Path) -> None:
    async def play() -> None:
        async with table_rig(tmp_path) as rig:
            job = kept(rig, paths=pa.table({"path": ["x"]}))
            query = Query(f"SELECT count(*) FROM runs.run_{job.id}.paths", "trino", "shop")
            prepared = await rig.service.prepare(rig.account, query)
            assert prepared.tables == []
            assert [file.name for file in prepared.runs.values()] == ["paths.parquet"]

    asyncio.run(play())
