"""Kills the ingest service again and again, then counts: every acknowledged batch must be there once, whole.

Run as a program: ``python tests/faults/crash_cycles.py --home DIR --kills 20 --failpoints --seed 7``. A
clean parent forks one child a cycle; the child starts the real service on the same folder, sends batches of
all three kinds (retrying the unacknowledged ones and a quarter of the acknowledged ones under their old
ids) and dies by SIGKILL, at a random moment or at a failpoint. Now and then, and at the end, a child only
recovers and counts. With ``--pairs``, the life that recovers from a kill at one failpoint is killed at
another; a count follows each pair, and the pairs with the same first point share a home of their own.
Prints one line of figures; exit 1 on loss.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import random
import select
import signal
import sqlite3
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import msgpack

from addon.adapters.memory import MemoryCatalog
from addon.ingest.limits import IngestLimits
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
_DRAIN_EVERY, _DEATHS = 20, 3
"""Lives until one only recovers; and deaths in one segment, after which each start would look, in a process
of its own, for the batch that kills it (``test_deadly_batch``)."""
_UNFLUSHED_BYTES = 60_000
"""Beyond it senders are told to come back, and the flush hurries: a life leaves a few segments at most."""
_REACHED_WITHIN_S = 30.0
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
    """Return the service on ``home``: small segments rotate often, little waits for the next life."""
    catalog = MemoryCatalog()
    catalog.ensure_table(REF)
    limits = WalLimits(segment_bytes=60_000, reserve_bytes=0)
    return IngestService(
        home / "wal",
        DeltaWarehouse(home / "warehouse"),
        catalog,
        FileLedger(home / "ledger.db"),
        limits=IngestLimits(unflushed_bytes=_UNFLUSHED_BYTES),
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
    ended = "signal"
    if failpoint is not None:
        death = os.pidfd_open(child)
        if select.select([death], [], [], _REACHED_WITHIN_S)[0]:
            ended = "failpoint"
        os.close(death)
    else:
        os.read(read_end, 1)
        time.sleep(delay)  # the moment of death is the input of this test
    os.close(read_end)
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


@dataclass
class Tally:
    """What the homes so far had to show."""

    kills: int = 0
    acked: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    """Lost, doubled and halved batches or rows, dead letters, and segments left."""
    missed: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    """Lives that did not end by a kill."""

    def live(self, home: Path, point: str | None, delay: float) -> None:
        """Let one life begin and end."""
        ended = cycle(home, failpoint=point, delay=delay)
        self.kills += 1
        if ended not in {"signal", "failpoint"}:
            self.strange.append(ended)
        elif point is not None and ended != "failpoint":
            self.missed.append(point)

    def settle(self, home: Path, after: str) -> int:
        """Recover and count; return the batches acknowledged, say at once after what a promise was broken."""
        figures = counted(home)
        acked = figures.pop("acked")
        if any(figures.values()):
            print(f"after {after} in {home}: {figures}", file=sys.stderr)  # noqa: T201 - a program
        self.wrong.update(figures)
        return acked

    def line(self, seed: int) -> str:
        """Return the figures."""
        wrong = ", ".join(f"{self.wrong[name]} {name}" for name in ("lost", "doubled", "halved", "dead"))
        return (
            f"seed {seed}: {self.kills} kills, {self.acked} acked, {wrong}, {self.wrong['left']} segments "
            f"left, failpoints not reached: {self.missed or 'none'}"
        )

    @property
    def good(self) -> bool:
        """Whether every promise was kept, and every point met."""
        return bool(self.acked) and not (self.wrong.total() or self.missed or self.strange)


def deaths(home: Path) -> int:
    """Return how often the lives so far died in the flush of the oldest segment."""
    try:
        return int(json.loads((home / "wal" / "flushing.json").read_bytes())["deaths"])
    except (OSError, ValueError):
        return 0


def singles(home: Path, plan: Sequence[str | None], rng: random.Random, tally: Tally) -> None:
    """Live the lives of a plan on one home; what one leaves is the next one's beginning."""
    for number, point in enumerate(plan):
        if number % _DRAIN_EVERY == _DRAIN_EVERY - 1 or deaths(home) >= _DEATHS:
            tally.settle(home, f"{number} lives")  # deaths in the first flush leave more and more
        tally.live(home, point, 0 if point else rng.uniform(0, 0.6))
    tally.acked += tally.settle(home, "the last life")


def pairs(home: Path, first: str, seconds: Sequence[str], rng: random.Random, tally: Tally) -> None:
    """Kill at ``first``, then, in the life that recovers from it, at each of the second points."""
    acked = 0
    for second in seconds:
        begun = f"{first}:abort@{rng.randint(1, 2)}"
        tally.live(home, begun, 0)
        tally.live(home, f"{second}:abort", 0)
        acked = tally.settle(home, f"{begun}, {second}")
    tally.acked += acked


def main(argv: Sequence[str]) -> int:
    """Run the cycles, print the figures, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--failpoints", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="N of the pairs of failpoints")
    options = parser.parse_args(argv)
    rng = random.Random(options.seed)  # noqa: S311 - a reproducible plan
    tally = Tally()
    plan: list[str | None] = [None] * options.kills
    if options.failpoints:
        plan += [f"{name}:abort@{rng.randint(1, 3)}" for name in FAILPOINTS]
    rng.shuffle(plan)
    if plan:
        (options.home / "singles").mkdir(parents=True)
        singles(options.home / "singles", plan, rng, tally)
    chosen = rng.sample(PAIRS, min(len(PAIRS), options.pairs))
    for first in dict.fromkeys(one for one, _ in chosen):
        (options.home / first).mkdir(parents=True)
        pairs(options.home / first, first, [two for one, two in chosen if one == first], rng, tally)
    print(tally.line(options.seed))  # noqa: T201 - a program
    return 0 if tally.good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
