"""The running add-on under load: durable acks against a twin that syncs nothing, freshness, resident memory.

Each server is a process of its own with a home on the disk; the clients share its two cores. Freshness is
measured as a customer meets it: a probe row is sent among the load, and the time counts from its ack until a
query's answer holds it, the query's own time included.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.bench_ingest import events
from tests.benchmarks.figures import Figure, interleaved
from tests.benchmarks.http_load import Connection, Load, blast, percentile, post, steady
from tests.faults.live_addon import LiveAddon

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "durable_path"
BATCH = 100
RATE = 20_000
FRESH_S = float(os.environ.get("BENCH_FRESH_S", "60"))
ACK_S, ACK_ROUNDS = 3.0, 5
FULL_S = 15.0
CONNECTIONS, ACK_CONNECTIONS = 16, 64
"""The acks' are as many as in the prototype whose ratio is the bar: a group commit lives on what waits."""
_DISTINCT = 20_000
_PROBE_EVERY_S = 0.2
_STALL = "commit.pre:delay"
"""Each commit of the stalled flusher takes a second longer."""
_SLOW_DISK = "wal.append.pre_fsync:delay,parquet.pre_fsync:delay,commit.pre:delay"
"""Each sync of the log and of a table's file does, too."""
_MB = 1e6


class _Twin(LiveAddon):
    """The add-on whose log is not synced."""

    module = "tests.benchmarks.unsynced_addon"


def figures() -> list[Figure]:
    """Measure and return the figures."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
        folder = Path(name)
        return [*_acks(folder), *_freshness(folder), *_full_speed(folder), *_held_up(folder)]


@contextmanager
def _serving(addon: LiveAddon) -> Iterator[LiveAddon]:
    addon.start()
    try:
        with addon.http() as client:
            client.post("/v3/database/create/shop").raise_for_status()
            client.post("/v3/table/create/shop/events/log").raise_for_status()
        yield addon
    finally:
        addon.kill()


def _headers(addon: LiveAddon, kind: str) -> dict[str, str]:
    return {"authorization": f"TD1 {addon.keys['td_api_key']}", "content-type": kind}


def _requests(addon: LiveAddon) -> list[bytes]:
    """Return the load: NDJSON bodies of a hundred events."""
    lines = [json.dumps(event) for event in events(_DISTINCT)]
    headers = _headers(addon, "application/x-ndjson")
    return [
        post("/api/import/shop/events", ("\n".join(lines[first : first + BATCH]) + "\n").encode(), headers)
        for first in range(0, _DISTINCT, BATCH)
    ]


def _port(addon: LiveAddon) -> int:
    return addon.base + 4


# Acks
# --------------------------------------------------------------------------------------------------------


def _acks(folder: Path) -> list[Figure]:
    with _serving(LiveAddon(folder / "synced")) as ours, _serving(_Twin(folder / "twin")) as twin:

        def rate(addon: LiveAddon) -> float:
            load = asyncio.run(blast(_port(addon), _requests(addon), ACK_CONNECTIONS, ACK_S))
            return load.acked * BATCH / load.seconds

        rates = interleaved({"ours": lambda: rate(ours), "twin": lambda: rate(twin)}, ACK_ROUNDS)
    return [
        Figure.measured(
            "durable_path.acked",
            rates["ours"],
            "events/s",
            bar=">= 0.75 x peer",
            peer="the same server, its log never synced",
            peer_value=rates["twin"],
        ),
        Figure.measured("durable_path.limit.fdatasync", _syncs(folder), "syncs/s", bar="> 0 syncs/s"),
    ]


def _syncs(folder: Path) -> float:
    """Return how often a second a file of a batch more can be synced: the bound of acks one by one."""
    data = random.Random(3).randbytes(BATCH * 272)  # noqa: S311 - test data
    descriptor = os.open(folder / "synced.bin", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        began, number = time.perf_counter(), 0
        while time.perf_counter() - began < 1:
            os.write(descriptor, data)
            os.fdatasync(descriptor)
            number += 1
        return number / (time.perf_counter() - began)
    finally:
        os.close(descriptor)


# Memory
# --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Watch:
    """Looks at a process's resident memory ten times a second."""

    pid: int
    samples: list[float] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[_Watch]:
        """Watch while the context lasts."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield self
        finally:
            self._done.set()
            thread.join()

    def _look(self) -> None:
        pages = os.sysconf("SC_PAGE_SIZE")
        while not self._done.wait(0.1):
            resident = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            self.samples.append(resident * pages / _MB)

    def figure(self, name: str) -> Figure:
        """Return the most that was resident."""
        return Figure.measured(name, max(self.samples), "MB", bar="<= 600 MB")


def _watched(addon: LiveAddon) -> _Watch:
    assert addon.process is not None
    return _Watch(addon.process.pid)


def _full_speed(folder: Path) -> list[Figure]:
    with _serving(LiveAddon(folder / "full")) as addon, _watched(addon).watching() as watch:
        load = asyncio.run(blast(_port(addon), _requests(addon), CONNECTIONS, FULL_S))
        stored = addon.query("select count(*) from events", "shop")[0][0]
    if stored != load.acked * BATCH:
        raise ValueError(f"{load.acked * BATCH} events were acknowledged, {stored} are there")
    return [
        watch.figure("durable_path.memory_at_full_speed"),
        Figure.measured("durable_path.full_speed", stored / load.seconds, "events/s", bar="> 0 events/s"),
    ]


def _held_up(folder: Path) -> list[Figure]:
    return [
        _memory(folder, "with_stalled_flusher", _STALL, CONNECTIONS),
        _memory(folder, "on_slow_disk", _SLOW_DISK, ACK_CONNECTIONS),
    ]


def _memory(folder: Path, name: str, failpoints: str, connections: int) -> Figure:
    addon = LiveAddon(folder / name, SLUICE_FAILPOINT=failpoints)
    with _serving(addon), _watched(addon).watching() as watch:
        load = asyncio.run(blast(_port(addon), _requests(addon), connections, FULL_S))
    if not load.acked:
        raise ValueError(f"nothing was acknowledged: {load.statuses}")
    return watch.figure(f"durable_path.memory_{name}")


# Freshness
# --------------------------------------------------------------------------------------------------------


def _freshness(folder: Path) -> list[Figure]:
    with _serving(LiveAddon(folder / "fresh")) as addon, _watched(addon).watching() as watch:
        load, seen = asyncio.run(_probed(addon))
    if load.acked * BATCH < RATE * FRESH_S * 0.99:
        raise ValueError(
            f"only {load.acked * BATCH / load.seconds:.0f} events/s were acknowledged: {load.statuses}"
        )
    return [
        Figure.measured("durable_path.fresh_p50", percentile(seen, 0.5) * 1e3, "ms", bar="<= 300 ms"),
        Figure.measured("durable_path.fresh_p99", percentile(seen, 0.99) * 1e3, "ms", bar="<= 300 ms"),
        watch.figure("durable_path.memory_at_20k"),
    ]


async def _probed(addon: LiveAddon) -> tuple[Load, list[float]]:
    load = asyncio.create_task(steady(_port(addon), _requests(addon), CONNECTIONS, FRESH_S, RATE / BATCH))
    await asyncio.sleep(min(2.0, FRESH_S / 10))
    seen = await _probe(addon, load)
    return await load, seen[1:]  # the first query starts the account's worker, which is no freshness


async def _probe(addon: LiveAddon, load: asyncio.Task[Load]) -> list[float]:
    connection, seen = await Connection.open(_port(addon)), []
    send, ask = _headers(addon, "application/x-ndjson"), _headers(addon, "application/json")
    number = 0
    while not load.done():
        number += 1
        row = b'{"time":1700000000,"probe":%d}\n' % number
        await connection.ask(post("/api/import/shop/events", row, send))
        acked = time.perf_counter()
        sql = {"sql": f"select count(*) from events where probe = {number}", "database": "shop"}  # noqa: S608 - a number
        status, answer = await connection.ask(post("/sluice/v1/query", json.dumps(sql).encode(), ask))
        if status != 200 or json.loads(answer)["rows"] != [[1]]:
            raise ValueError(f"probe {number} was acknowledged and is not there: {status} {answer[:200]!r}")
        seen.append(time.perf_counter() - acked)
        await asyncio.sleep(_PROBE_EVERY_S)
    await connection.close()
    return seen
