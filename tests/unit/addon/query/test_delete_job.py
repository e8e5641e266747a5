"""DELETE: exactly the rows that its condition is true of go, beside commits and merges; versions keep all."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from addon.query.deletes import is_delete
from platform_core.base.errors import Forbidden, InvalidInput, NotFound, Unavailable
from tests.unit.addon.query.table_rig import NOW, table_rig

if TYPE_CHECKING:
    from pathlib import Path


def test_only_statements_that_begin_as_a_delete_are_one() -> None:
    assert all(map(is_delete, ["DELETE FROM t", " \n-- why\n/* and */ delete\tfrom t", "delete"]))
    assert not any(
        map(is_delete, ["SELECT 1 -- DELETE", "deletes", "", "/* delete from t", "with d as (x) delete"])
    )


def test_the_rows_of_the_condition_go_and_no_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with table_rig(tmp_path) as rig:
            for first in (0, 100, 200):
                rig.put(*(f'{{"time":{NOW + first + n},"n":{first + n},"k":"{n % 7}"}}' for n in range(100)))
            before = rig.warehouse.snapshot(rig.ref())
            assert before is not None
            assert await rig.job("DELETE FROM events WHERE n BETWEEN 90 AND 109 AND k <> '3'") == [[18]]
            after = rig.warehouse.snapshot(rig.ref())
            assert after is not None
            assert before.files[2] in after.files  # no row of it was touched
            kept = [n for n in range(300) if not (90 <= n <= 109 and n % 100 % 7 != 3)]
            assert await rig.ask("SELECT n FROM events ORDER BY n") == [[n] for n in kept]
            assert rig.catalog.table(rig.ref()).rows == 282
            assert await rig.job("DELETE FROM events WHERE k = '3'", "hive") == [[42]]
            old = rig.warehouse.snapshot(rig.ref(), before.version)
            assert old is not None
            assert sum(pq.read_metadata(path).num_rows for path in old.files) == 300
            assert await rig.job("DELETE FROM shop.events") == [[240]]
            assert await rig.ask("SELECT count(*) FROM events") == [[0]]
            rig.put('{"n":1}')
            assert await rig.ask("SELECT n FROM events") == [[1]]

    asyncio.run(scenario())


def test_conditions_may_read_other_tables_and_the_same_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with table_rig(tmp_path) as rig:
            rig.put(*(f'{{"time":{NOW + n},"id":{n % 10},"n":{n}}}' for n in range(50)))
            rig.put('{"id":3}', '{"id":4}', table="blocked")
            sql = """-- the blocked ones, but for their newest row
                     DELETE FROM events WHERE id IN (SELECT id FROM blocked)
                     AND n < (SELECT max(n) FROM events e WHERE e.id = events.id)"""
            assert await rig.job(sql) == [[8]]
            assert await rig.ask("SELECT n FROM events WHERE id IN (3, 4) ORDER BY n") == [[43], [44]]
            assert await rig.job("DELETE FROM events WHERE TD_TIME_RANGE(time, NULL, 1800000005)") == [[3]]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("DELETE FROM nothing WHERE n = 1", NotFound),
        ("DELETE FROM events WHERE n = 1 RETURNING n", Forbidden),
        ("DELETE FROM events USING blocked WHERE events.n = 1", Forbidden),
        ("DELETE FROM events WHERE read_text('/etc/passwd') = ''", Forbidden),
        ("DELETE FROM events WHERE n IN (SELECT content FROM read_text('/etc/passwd'))", Forbidden),
        ("DELETE FROM events; DELETE FROM events", InvalidInput),
        ("DELETE FROM information_schema.tables", NotFound),
        ("DELETE FROM read_parquet('x')", Forbidden),
        ("DELETE events", (Forbidden, InvalidInput)),
    ],
)
def test_what_is_no_plain_delete_of_an_own_table_is_refused(tmp_path: Path, sql: str, error: Any) -> None:
    async def scenario() -> None:
        async with table_rig(tmp_path) as rig:
            rig.put('{"n":1}')
            with pytest.raises(error):
                await rig.job(sql, "duckdb" if "USING" in sql or "RETURNING" in sql else "trino")
            with pytest.raises(Forbidden):
                await rig.ask("DELETE FROM events")
            assert await rig.ask("SELECT count(*) FROM events") == [[1]]

    asyncio.run(scenario())


def test_a_file_that_others_replaced_is_looked_at_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with table_rig(tmp_path) as rig:
            for n in range(40):
                rig.put(f'{{"n":{n}}}')
            delete, tries = rig.warehouse.rewriter.delete_rows, 0

            def disturbed(ref: Any, doomed: Any) -> int | None:
                nonlocal tries
                tries += 1
                if tries == 1:  # another process merges the files that the places name
                    own = rig.warehouse._of(ref)
                    assert rig.warehouse.rewriter._compact(own) == 40
                return delete(ref, doomed)

            monkeypatch.setattr(rig.warehouse.rewriter, "delete_rows", disturbed)
            assert await rig.job("DELETE FROM events WHERE n >= 30") == [[10]]
            assert tries == 2
            assert await rig.ask("SELECT count(*), max(n) FROM events") == [[30, 29]]
            monkeypatch.setattr(rig.warehouse.rewriter, "delete_rows", lambda *_: None)
            with pytest.raises(Unavailable):
                await rig.job("DELETE FROM events WHERE n >= 20")

    asyncio.run(scenario())


def test_random_deletions_beside_commits_and_merges_leave_what_a_set_would(tmp_path: Path) -> None:
    async def scenario() -> None:
        chance = random.Random(5)  # noqa: S311  (not for secrets)
        async with table_rig(tmp_path) as rig:
            model: set[int] = set()
            number = 0
            for step in range(60):
                number += 10
                model.update(range(number, number + 10))
                rig.put(
                    *(f'{{"time":{NOW + (n * 7919) % 99999},"n":{n}}}' for n in range(number, number + 10))
                )
                if step % 6 == 5:
                    factor, low = chance.randrange(2, 9), chance.randrange(number)
                    doomed = {n for n in model if n % factor == 1 and n >= low}
                    sql = f"DELETE FROM events WHERE n % {factor} = 1 AND n >= {low}"  # noqa: S608  (numbers)
                    assert await rig.job(sql) == [[len(doomed)]]
                    model -= doomed
                if step % 20 == 19:
                    while await asyncio.to_thread(rig.warehouse.compact, rig.ref()):
                        pass
            assert await rig.ask("SELECT n FROM events ORDER BY n") == [[n] for n in sorted(model)]

    asyncio.run(scenario())
