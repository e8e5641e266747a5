"""The durable path on one folder with its real parts, a workload for it, and the count that judges it.

The parts are the program's own: log, warehouse, catalog and upload ledger in SQLite. The workload writes
each acknowledgement to a journal file, so that whoever kills it, or cuts its power, knows what was promised.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from addon.ingest.service import IngestService
from addon.ingest.wal import WalLimits
from addon.store.accounts import AccountStore
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.uploads import SqlUploadLedger
from addon.warehouse import delta, merge_plan
from addon.warehouse.store import DeltaWarehouse
from addon.warehouse.view import view_sql
from platform_core.base.clock import SystemClock
from platform_core.base.errors import SluiceError
from tests.faults.crash_cycles import REF, ROWS, batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from addon.warehouse.typed import Typer

ACCOUNT = REF.account_id
MERGED_AT_ONCE = 5
"""Files, where upkeep is hurried."""
_SEGMENT_BYTES = 12_000


def make(home: Path) -> None:
    """Make a home folder with a database, the account and the table; only then may it be opened."""
    home.mkdir(parents=True)
    database = Database(f"sqlite:///{home / 'addon.db'}")
    database.migrate()
    accounts = AccountStore(database, SystemClock())
    while accounts.ensure_local(f"local-{random.random()}", "premium", os.urandom(32).hex())[0].id < ACCOUNT:  # noqa: S311 - any name
        pass
    SqlCatalog(database, SystemClock()).ensure_table(REF)
    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


@dataclass
class Parts:
    """The opened home."""

    service: IngestService
    warehouse: DeltaWarehouse
    ledger: SqlUploadLedger


@asynccontextmanager
async def opened(home: Path, typer: Typer | None = None, linger_s: float = 0.02) -> AsyncIterator[Parts]:
    """Start the service on a home, as the program does; close it at the end."""
    database = Database(f"sqlite:///{home / 'addon.db'}")
    warehouse = DeltaWarehouse(home / "warehouse")
    if typer is not None:
        warehouse._typer = typer  # shared among many short lives: making one takes longer than they do
    ledger = SqlUploadLedger(database)
    service = IngestService(
        home / "wal",
        warehouse,
        SqlCatalog(database, SystemClock()),
        ledger,
        wal_limits=WalLimits(segment_bytes=_SEGMENT_BYTES, reserve_bytes=0),
        linger_s=linger_s,
    )
    try:
        await service.start()
        yield Parts(service, warehouse, ledger)
    finally:
        await service.close()
        if typer is not None:
            warehouse._typer = None
        warehouse.close()
        database.close()


def hurry_upkeep() -> None:
    """Let checkpoints and merges happen within a short life."""
    delta.CHECKPOINT_EVERY = 8
    merge_plan.FAN_IN = MERGED_AT_ONCE


async def workload(home: Path, journal: Path, batches: int, seed: int) -> None:
    """Write ``batches`` new batches from three writers, repeat some old ones, merge now and then."""
    hurry_upkeep()
    told = await asyncio.to_thread(journal.read_text)
    log = os.open(journal, os.O_WRONLY | os.O_APPEND, 0o600)
    async with opened(home) as parts:
        writers = [
            _write(parts.service, Writer(f"w{n}-", log, told, batches // 3), random.Random(seed + n))  # noqa: S311 - a reproducible choice
            for n in range(3)
        ]
        merging = asyncio.create_task(_merge(parts))
        await asyncio.gather(*writers)
        merging.cancel()
    os.close(log)


async def _merge(parts: Parts) -> None:
    while True:
        await asyncio.sleep(0.2)  # the workload's rhythm, not a wait for anything
        await asyncio.to_thread(parts.warehouse.compact, REF)


@dataclass(frozen=True, slots=True)
class Writer:
    """One sender: the prefix of its batches' names, the journal's descriptor and text, how many to add."""

    ours: str
    log: int
    told: str
    batches: int

    def named(self, verb: str) -> list[str]:
        """Return the batches of this writer that the journal notes with ``verb``."""
        return [name for name in words(self.told, verb) if name.startswith(self.ours)]


async def _write(service: IngestService, writer: Writer, rng: random.Random) -> None:
    log, done, known = writer.log, writer.named("ack"), writer.named("start")
    todo = [name for name in known if name not in set(done)]
    todo += [f"{writer.ours}{len(known) + n}" for n in range(writer.batches)]
    for name in todo:
        os.write(log, f"start {name}\n".encode())
        repeats = rng.sample(done, 1) if done and rng.random() < 0.2 else []
        for one in (name, *repeats):
            try:
                await service.append(batch(one))
            except SluiceError:
                await asyncio.sleep(0.02)  # refused; a later life tries it again
                break
        else:
            os.write(log, f"ack {name}\n".encode())
            done.append(name)
        if rng.random() < 0.1:
            await service.flush(ACCOUNT)


def words(text: str, verb: str) -> list[str]:
    """Return the names that a journal notes with ``verb``, each once, in order."""
    lines = (line.partition(" ") for line in text.splitlines())
    return list(dict.fromkeys(name for said, _, name in lines if said == verb))


@dataclass(frozen=True, slots=True)
class Count:
    """What a table has of what was promised; ``lost``, ``doubled`` and ``halved`` are to be 0."""

    acked: int
    lost: int
    doubled: int
    halved: int

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.doubled or self.halved)


def count(warehouse: DeltaWarehouse, acked: Sequence[str]) -> Count:
    """Compare the table with the acknowledged batches."""
    present = Counter(ids(warehouse))
    per_batch = Counter(name.rpartition("-")[0] for name in present)
    return Count(
        len(acked),
        sum(1 for name in acked for n in range(ROWS) if f"{name}-{n}" not in present),
        sum(times - 1 for times in present.values()),
        sum(1 for rows in per_batch.values() if rows != ROWS),
    )


def ids(warehouse: DeltaWarehouse) -> list[str]:
    """Return the ids of all rows of the table."""
    snapshot = warehouse.snapshot(REF)
    if snapshot is None or not snapshot.files:
        return []
    sql = view_sql(snapshot, [str(path) for path in snapshot.files])
    with _reader().cursor() as connection:
        return [row[0] for row in connection.execute(f"select id from ({sql})").fetchall()]  # noqa: S608 - our own view


@functools.cache
def _reader() -> duckdb.DuckDBPyConnection:
    """Return one connection for all counts, which remembers no file: the same name may hold other bytes."""
    return duckdb.connect(config={"threads": 1, "enable_external_file_cache": False})
