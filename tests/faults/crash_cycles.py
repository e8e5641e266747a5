"""Kills the ingest service again and again, then counts: every acknowledged batch must be there once, whole.

Run as a program: ``python tests/faults/crash_cycles.py --home DIR --kills 20 --failpoints --seed 7``. A
clean parent forks one child a cycle; the child starts the real service on the same folder, sends batches of
all three kinds (retrying the unacknowledged ones and a quarter of the acknowledged ones under their old
ids) and dies by SIGKILL, at a random moment or at a failpoint. The last child only recovers and counts.
Prints one line of figures; exit 1 on loss.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import msgpack

from addon.adapters.memory import MemoryCatalog
from addon.ingest.service import IngestService
from addon.ingest.wal import WalLimits
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.warehouse import delta
from addon.warehouse.store import DeltaWarehouse
from addon.warehouse.view import view_sql
from platform_core.base import failpoints
from platform_core.base.errors import SluiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILPOINTS = (
    "wal.append.pre_write",
    "wal.append.mid_write",
    "wal.append.post_write",
    "wal.append.pre_fsync",
    "wal.append.post_fsync",
    "wal.rotate",
    "parquet.pre_fsync",
    "parquet.post_fsync",
    "commit.pre",
    "commit.unsynced",
    "commit.post",
    "checkpoint.pre",
    "checkpoint.unsynced",
    "checkpoint.post",
    "ledger.write",
    "wal.delete.pre",
    "wal.delete.post",
)
PAIRS = [(first, second) for first in FAILPOINTS for second in FAILPOINTS]
_DRAIN_EVERY = 20
ACCOUNT = 7
REF = TableRef(ACCOUNT, "shop", "events")
WRITERS = 3
ROWS = 10


class FileLedger:
    """An upload ledger that outlives the process, in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("create table if not exists ids (a, d, t, u, sha, primary key (a, d, t, u))")

    def seen(self, account_id: int, database: str, table: str, upload_id: str) -> str | None:
        key = (account_id, database, table, upload_id)
        row = self._db.execute("select sha from ids where a=? and d=? and t=? and u=?", key).fetchone()
        return None if row is None else str(row[0])

    def record(self, entries: Sequence[tuple[int, str, str, str, str]], now: float) -> None:
        del now
        self._db.executemany("insert or ignore into ids values (?,?,?,?,?)", entries)


def build(home: Path) -> IngestService:
    """Return the service on ``home``, with small segments so that rotation happens often."""
    catalog = MemoryCatalog()
    catalog.ensure_table(REF)
    limits = WalLimits(segment_bytes=60_000, reserve_bytes=0)
    return IngestService(
        home / "wal",
        DeltaWarehouse(home / "warehouse"),
        catalog,
        FileLedger(home / "ledger.db"),
        wal_limits=limits,
        linger_s=0.02,
    )


def batch(name: str) -> Batch:
    """Return the batch of that name, always the same; its kind follows from the name."""
    rows = [{"id": f"{name}-{n}", "n": n, "batch": name, "time": 1_700_000_000 + n} for n in range(ROWS)]
    kind = sum(name.encode()) % 3
    meta = {"app": "shop", "drain": "d.1"}
    if kind == 0:
        body = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return Batch(BodyKind.NDJSON, ACCOUNT, REF.database, REF.table, body, 1.7e9, name)
    if kind == 1:
        body = gzip.compress(b"".join(map(msgpack.packb, rows)), mtime=0)
        return Batch(BodyKind.MSGPACK_GZ, ACCOUNT, REF.database, REF.table, body, 1.7e9, name)
    head = b"<190>1 2026-11-25T13:00:00.123456+00:00 host app web.1 - "
    lines = [head + f"@[shop.events] {json.dumps(row)}\n".encode() for row in rows]
    return Batch(
        BodyKind.LOGPLEX, ACCOUNT, "", "", b"".join(b"%d %b" % (len(x), x) for x in lines), 1.7e9, name, meta
    )


async def write(
    service: IngestService, writer: int, home: Path, acked: list[str], started: list[str]
) -> None:
    """Send this writer's open and some old batches again, then new ones, noting each ack at once."""
    ours = f"w{writer}-"
    rng = random.Random(len(acked) + writer)  # noqa: S311 - a reproducible choice
    done = [name for name in acked if name.startswith(ours)]
    pending = [name for name in started if name.startswith(ours) and name not in set(done)]
    pending += [name for name in done[-40:] if rng.random() < 0.25]
    pending += rng.sample(done, min(10, len(done)))  # long flushed ones, which only the ledger knows
    number = sum(name.startswith(ours) for name in started)
    log = os.open(home / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        name = pending.pop() if pending else f"{ours}{number}"
        if name == f"{ours}{number}":
            os.write(log, f"start {name}\n".encode())
            number += 1
        try:
            await service.append(batch(name))
        except SluiceError:
            pending.append(name)
            await asyncio.sleep(0.01)
            continue
        os.write(log, f"ack {name}\n".encode())
        await asyncio.sleep(0)


def journal(home: Path) -> tuple[list[str], list[str]]:
    """Return the acknowledged and the started batches so far."""
    path = home / "journal"
    words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    acked = list(dict.fromkeys(name for verb, name in words if verb == "ack"))
    return acked, list(dict.fromkeys(name for verb, name in words if verb == "start"))


async def serve(home: Path, ready: int) -> None:
    """Run the service and its writers until killed."""
    delta.CHECKPOINT_EVERY = 5  # often enough for a short life to meet one
    service = build(home)
    await service.start()
    os.write(ready, b"r")
    acked, started = journal(home)
    await asyncio.gather(*(write(service, n, home, acked, started) for n in range(WRITERS)))


async def count(home: Path) -> dict[str, int]:
    """Recover, flush, and compare the table with the journal."""
    service = build(home)
    await service.start()
    await service.flush(ACCOUNT)
    await service.close()
    snapshot = DeltaWarehouse(home / "warehouse").snapshot(REF)
    assert snapshot is not None
    sql = view_sql(snapshot, [str(path) for path in snapshot.files])
    ids = [row[0] for row in duckdb.sql(f"select id from ({sql})").fetchall()]  # noqa: S608 - our own view
    acked, _ = journal(home)
    present = Counter(ids)
    per_batch = Counter(name.rpartition("-")[0] for name in present)
    return {
        "acked": len(acked),
        "lost": sum(1 for name in acked for n in range(ROWS) if f"{name}-{n}" not in present),
        "doubled": sum(times - 1 for times in present.values()),
        "halved": sum(1 for rows in per_batch.values() if rows != ROWS),
        "dead": service.stats.dead_letters,
        "left": len(list((home / "wal").glob("*.wal"))),
    }


def cycle(home: Path, *, failpoint: str | None, delay: float) -> str:
    """Fork a serving child and let it die; return what ended it."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        os.close(read_end)
        failpoints.arm(failpoint or "")
        try:
            asyncio.run(serve(home, write_end))
        finally:
            os._exit(3)
    os.close(write_end)
    began = time.monotonic()
    os.read(read_end, 1)
    os.close(read_end)
    time.sleep(delay)  # the moment of death is the input of this test
    ended = "signal"
    while failpoint is not None and time.monotonic() - began < 10:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            ended = "failpoint"
            break
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return ended if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def counted(home: Path) -> dict[str, int]:
    """Count in a child of its own: this process must stay clean for forking."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write_end, json.dumps(asyncio.run(count(home))).encode())
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - the parent reports it
            print(f"counting failed: {error!r}", file=sys.stderr)  # noqa: T201 - a program
            os._exit(4)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    figures: dict[str, int] = json.loads(text)
    return figures


def main(argv: Sequence[str]) -> int:
    """Run the cycles, print the figures, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--failpoints", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--pairs",
        type=int,
        metavar="N",
        help="N of the pairs of failpoints, the second in the life that recovers",
    )
    options = parser.parse_args(argv)
    options.home.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)  # noqa: S311 - a reproducible plan
    plan: list[str | None] = [None] * options.kills
    if options.failpoints:
        plan += [f"{name}:abort@{rng.randint(1, 3)}" for name in FAILPOINTS]
    rng.shuffle(plan)
    for first, second in rng.sample(PAIRS, min(len(PAIRS), options.pairs or 0)):
        plan += [f"{first}:abort@{rng.randint(1, 2)}", f"{second}:abort"]
    ends = []
    for number, point in enumerate(plan):
        if number % _DRAIN_EVERY == _DRAIN_EVERY - 1:
            counted(options.home)  # lives that end in their first flush leave more and more to the next one
        ends.append(cycle(options.home, failpoint=point, delay=0 if point else rng.uniform(0, 0.6)))
    missed = [
        point for point, end in zip(plan, ends, strict=True) if point is not None and end != "failpoint"
    ]
    figures = counted(options.home)
    print(  # noqa: T201 - a program
        f"seed {options.seed}: {len(plan)} kills, {figures['acked']} acked, {figures['lost']} lost, "
        f"{figures['doubled']} doubled, {figures['halved']} halved, {figures['dead']} dead, "
        f"{figures['left']} segments left, failpoints not reached: {missed or 'none'}"
    )
    broken = figures["lost"] + figures["doubled"] + figures["halved"] + figures["dead"] + figures["left"]
    return 1 if broken or missed or not figures["acked"] or set(ends) - {"signal", "failpoint"} else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
