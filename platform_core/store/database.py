"""The store: opens the platform's database and runs the functions of this room in transactions."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from platform_core.base.database import migrate, open_database

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_MIGRATIONS = Path(__file__).parent / "migrations"
_POSTGRES_THREADS = 4
_TURN = 0x536C_0010
"""The advisory lock that a transaction holds on PostgreSQL."""


class Store:
    """The platform's database.

    Store functions are synchronous and short. On the event loop they are awaited through `run`, which uses
    threads of the store's own: one for SQLite, where transactions queue anyway.
    """

    def __init__(self, engine: sa.Engine) -> None:
        """Wrap an engine whose schema is up to date; see `open_store`."""
        self.engine = engine
        threads = 1 if engine.dialect.name == "sqlite" else _POSTGRES_THREADS
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="store")

    def run_sync(
        self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work(connection, …)`` in one transaction, undone when it raises."""
        with self.engine.begin() as connection:
            return work(connection, *args, **kwargs)

    async def run(
        self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Like `run_sync`, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: self.run_sync(work, *args, **kwargs))

    def close(self) -> None:
        """Let running transactions end and close the connections."""
        self._threads.shutdown()
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open the database at ``url`` and bring its schema up to date.

    A SQLite file holds config vars and add-on secrets, so it is made readable by its owner only.
    """
    engine = open_database(url)
    if engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}:
        path = Path(str(engine.url.database))
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
    if engine.dialect.name == "postgresql":
        sa.event.listen(engine, "begin", _take_turn)
    migrate(engine, _MIGRATIONS)
    return Store(engine)


def _take_turn(connection: sa.Connection) -> None:
    """Let transactions queue as they do on SQLite: functions of this room number things by what is there."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
