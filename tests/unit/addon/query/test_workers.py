"""Workers in the real sandbox: they answer, they are fenced in, they die when told to."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import msgpack
import pytest

from addon.models.accounts import PLANS, Account, AccountState
from addon.query.worker import QueryFailed, Reply, Request
from addon.query.workers import WorkerPool
from platform_core.base.clock import SystemClock
from platform_core.base.sandbox.client import SpawnerSandbox

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNT = Account(1, None, "one", PLANS["nano"], AccountState.PROVISIONED, 0.0)
Ask = Callable[..., Awaitable[tuple[Reply, Any]]]


@asynccontextmanager
async def workers(home: Path) -> AsyncIterator[tuple[WorkerPool, Ask]]:
    warehouse = home / "warehouse"
    (warehouse / "1" / "shop").mkdir(parents=True)
    (warehouse / "2").mkdir()
    (warehouse / "2" / "secret.csv").write_text("secret\n1\n")
    file = warehouse / "1" / "shop" / "a.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"copy (select i as time, 'v' || i as v from range(200000) t(i)) to '{file}'")  # noqa: S608  (our own path)
    sandbox = SpawnerSandbox()
    await sandbox.start()
    pool = WorkerPool(sandbox, warehouse, home / "spill", SystemClock(), threads=2)
    await pool.start()

    async def ask(
        sql: str, form: str = "td", timeout_s: float = 20.0, kill: asyncio.Event | None = None
    ) -> tuple[Reply, Any]:
        descriptor = os.memfd_create("result")
        try:
            async with pool.lend(ACCOUNT) as worker:
                views = {"shop.t": f"select * from read_parquet(['{worker.path_inside(file)}'])"}  # noqa: S608  (our own path)
                request = Request(sql, views, form, 64 << 20)
                reply = await worker.run(
                    request, descriptor, timeout_s=timeout_s, kill=kill or asyncio.Event()
                )
            body = os.pread(descriptor, 1 << 28, 0)
        finally:
            os.close(descriptor)
        return reply, list(msgpack.Unpacker(io.BytesIO(gzip.decompress(body)))) if form == "td" else body

    try:
        yield pool, ask
    finally:
        await pool.close()
        await sandbox.close()


def test_rows_come_out_exactly_and_in_order(tmp_path: Path) -> None:
    sql = """select 1::hugeint a, 1.50::decimal(5,2) b, 'nan'::double c, timestamp '2026-01-02 03:04:05.6' d,
        [1.50::decimal(5,2)] e, {'x': 1} f, 0.1::float g, 'a'::blob h, null i, true j, date '2026-01-02' k"""

    async def scenario() -> None:
        async with workers(tmp_path) as (_, ask):
            _, (row,) = await ask(sql)
            assert row[2] != row[2]  # NaN
            assert row[:2] + row[3:] == [
                1, "1.50", "2026-01-02 03:04:05.600", '["1.50"]', '{"x":1}', 0.1, "YQ==", None, True,
                "2026-01-02",
            ]  # fmt: skip
            reply, rows = await ask('select * from "shop.t" order by time desc')
            assert reply.rows == len(rows) == 200_000
            assert [row[0] for row in rows] == list(range(199_999, -1, -1))

    asyncio.run(scenario())


PROBES = [
    "select * from read_text('/etc/passwd')",
    "select * from read_text('/proc/self/environ')",
    "select * from read_csv('{home}/warehouse/2/secret.csv')",
    "select * from read_csv('/sluice-warehouse/../2/secret.csv')",
    "select * from glob('/**')",
    "copy (select 1) to '/sluice-warehouse/x.csv'",
    "copy (select 1) to '/sluice-spill/x.csv'",
    "attach '/sluice-spill/x.db'",
    "install httpfs",
    "load '/sluice-spill/x.duckdb_extension'",
    "select getenv('PATH')",
    "set memory_limit = '100GB'",
    "reset lock_configuration",
    "select 1; select 2",
    "create temp table x as select 1",
]


def test_a_query_that_passed_every_other_wall_still_cannot_get_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workers(tmp_path) as (_, ask):
            for sql in PROBES:
                with pytest.raises(QueryFailed) as caught:
                    await ask(sql.replace("{home}", str(tmp_path)))
                assert caught.value.kind == "query", sql
            assert (await ask("select 1"))[1] == [[1]]

    asyncio.run(scenario())
    assert not list(tmp_path.rglob("x.*"))


def test_endless_queries_end_at_their_timeout_or_when_killed(tmp_path: Path) -> None:
    endless = "select count(*) from range(1000000000) a, range(1000000000) b"

    async def scenario() -> None:
        async with workers(tmp_path) as (_, ask):
            for sql in (endless, "select repeat('x', 4000000000)"):  # the second ignores interrupts
                with pytest.raises(QueryFailed) as caught:
                    await ask(sql, timeout_s=0.5)
                assert caught.value.kind == "timeout"
            kill = asyncio.Event()
            asyncio.get_running_loop().call_later(0.2, kill.set)
            with pytest.raises(QueryFailed) as caught:
                await ask(endless, kill=kill)
            assert caught.value.kind == "killed"
            assert (await ask("select 1"))[1] == [[1]]

    asyncio.run(scenario())


def test_too_much_memory_and_too_large_results_are_told_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workers(tmp_path) as (_, ask):
            for sql, form, kind in (
                ("select list(i) from range(1000000000) t(i)", "td", "memory"),
                ("select i, hash(i), hash(i + 1) from range(20000000) t(i)", "arrow", "result"),
            ):
                with pytest.raises(QueryFailed) as caught:
                    await ask(sql, form)
                assert caught.value.kind == kind
            assert (await ask("select 1"))[1] == [[1]]

    asyncio.run(scenario())


def test_a_closed_account_has_no_workers_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with workers(tmp_path) as (pool, ask):
            pool.prewarm(ACCOUNT)
            assert (await ask("select 1"))[1] == [[1]]
            running = asyncio.create_task(
                ask("select count(*) from range(1000000000) a, range(1000000000) b")
            )
            await lent(pool)
            await pool.close_account(1)
            with pytest.raises(QueryFailed):
                await running

    async def lent(pool: WorkerPool) -> None:
        while pool._tenants[1].idle:  # noqa: ASYNC110  (the pool announces this to nobody)
            await asyncio.sleep(0.01)

    asyncio.run(scenario())
