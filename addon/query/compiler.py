"""Where queries are compiled: short ones in a thread, long ones in a process with limits of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from addon.models.tables import TableRef
from addon.query.as_of import AsOf
from addon.query.compile_main import CPU_S
from addon.query.dialects import CompiledQuery, compile_query
from addon.query.gate import MAX_SQL_BYTES
from addon.query.saved_runs import RunRef
from platform_core.base import errors
from platform_core.base.sandbox.interpreter import python_path

if TYPE_CHECKING:
    from addon.models.accounts import Account
    from addon.query.td_functions import Times
    from addon.store.catalog import SqlCatalog

_SHORT_BYTES = 8 << 10
"""Texts up to here take some 100 ms at worst; a process takes longer than that to start."""
_WALL_S = 6.0 * CPU_S
_AT_ONCE = 2


class Compiler:
    """Checks and translates queries for accounts."""

    def __init__(self, catalog: SqlCatalog) -> None:
        """Know the tables from ``catalog``."""
        self._catalog = catalog
        self._processes = asyncio.Semaphore(_AT_ONCE)

    async def compile(
        self,
        account: Account,
        sql: str,
        dialect: str,
        database: str,
        times: Times,
        *,
        deleting: bool = False,
    ) -> CompiledQuery:
        """Compile a query, or with ``deleting`` a DELETE.

        Raises:
            UserError: it is refused; also when it takes too long to understand.
        """
        if not _SHORT_BYTES < len(sql) <= MAX_SQL_BYTES:
            exists = self._catalog.table_exists
            return await asyncio.to_thread(
                compile_query, sql, dialect, account.id, database, exists, times, deleting=deleting
            )
        refs = await asyncio.to_thread(self._catalog.table_refs, account.id)
        request = {
            "sql": sql,
            "dialect": dialect,
            "account_id": account.id,
            "database": database,
            "tables": [[ref.database, ref.table] for ref in refs],
            "times": [times.now, times.scheduled],
            "deleting": deleting,
        }
        async with self._processes:
            answer = await _in_a_process(request)
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["message"], hint=answer["hint"])
        views = {name: TableRef(account.id, *names) for name, names in answer["views"].items()}
        ranges = {name: tuple((low, high) for low, high in one) for name, one in answer["ranges"].items()}
        as_of = {name: AsOf(*one) for name, one in answer["as_of"].items()}
        runs = {name: RunRef(*one) for name, one in answer["runs"].items()}
        return CompiledQuery(
            answer["sql"], views, ranges, answer["target"], answer["everything"], as_of, runs
        )


async def _in_a_process(request: dict[str, Any]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "addon.query.compile_main"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": python_path(), "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    )
    try:
        async with asyncio.timeout(_WALL_S):
            out, _ = await process.communicate(json.dumps(request).encode())
    except TimeoutError:
        out = b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or not out:
        raise errors.InvalidInput(
            "The query is too long or too involved to be understood in time.",
            hint="Load long lists of values into a table and join it.",
        )
    answer: dict[str, Any] = json.loads(out)
    return answer
