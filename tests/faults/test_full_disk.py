"""A disk that is really full: appends are refused with a time to come back, and nothing else breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from addon.adapters.memory import MemoryCatalog, MemoryUploadLedger
from addon.ingest import service as ingest_service
from addon.ingest.disk import LocalDisk
from addon.ingest.service import IngestService
from addon.ingest.wal import WalLimits
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.warehouse import delta, merge_plan
from addon.warehouse.store import DeltaWarehouse
from addon.warehouse.view import view_sql
from platform_core.base import failpoints
from platform_core.base.errors import OutOfSpace, Unavailable
from tests.faults import durable_home
from tests.faults.crash_cycles import REF, batch
from tests.faults.full_disk import ROWS, body

ROOT = Path(__file__).parents[2]
BATCHES = 3
STEPS = (
    "wal.append.pre_write",
    "wal.append.post_write",
    "wal.append.pre_fsync",
    "wal.append.post_fsync",
    "parquet.pre_fsync",
    "parquet.post_fsync",
    "commit.pre",
    "commit.unsynced",
    "commit.post",
    "checkpoint.pre",
    "checkpoint.unsynced",
    "checkpoint.post",
    "catalog.write",
    "ledger.write",
    "wal.delete.pre",
)
"""Nothing behind the deletion of a segment needs room."""
MERGE_STEPS = ("compaction.pre", "compaction.swap", "compaction.post")
_MB = 1 << 20


class SmallDisk(LocalDisk):
    """The real disk, made small by counting: what stands for a tmpfs where mounting is not allowed."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size

    def free_bytes(self, folder: Path) -> int:
        del folder
        used = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return max(0, self.size - used)

    def size_bytes(self, folder: Path) -> int:
        del folder
        return self.size


async def on_a_counted_disk(home: Path) -> None:
    disk, catalog = SmallDisk(home, 4 * _MB), MemoryCatalog()
    ref = TableRef(1, "shop", "events")
    catalog.ensure_table(ref)
    warehouse = DeltaWarehouse(home / "warehouse")
    service = IngestService(
        home / "wal", warehouse, catalog, MemoryUploadLedger(), disk=disk, wal_limits=WalLimits()
    )
    await service.start()
    acked: list[str] = []

    async def send() -> None:
        name = f"b{len(acked)}"
        batch = Batch(BodyKind.MSGPACK_GZ, 1, ref.database, ref.table, body(name), 1.7e9, name)
        await service.append(batch)
        acked.append(name)

    def found() -> Any:
        snapshot = warehouse.snapshot(ref)
        assert snapshot is not None
        sql = view_sql(snapshot, [str(path) for path in snapshot.files])
        return duckdb.sql(f"select count(*), count(distinct id) from ({sql})").fetchall()  # noqa: S608 - test

    refusals = 0
    while refusals < 3:
        try:
            await send()
        except OutOfSpace:
            refusals += 1
            await service.flush(1)
    assert len(acked) > 3
    assert found() == [(len(acked) * ROWS,) * 2]
    disk.size *= 2
    for _ in range(3):
        await send()
    await service.flush(1)
    assert found() == [(len(acked) * ROWS,) * 2]
    await service.close()


def test_a_counted_full_disk_refuses_keeps_and_resumes(tmp_path: Path) -> None:
    asyncio.run(on_a_counted_disk(tmp_path / "home"))


def may_mount() -> bool:
    """Tell whether this process may mount a file system; a container's root often may not."""
    if os.geteuid():
        return False
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


on_a_mount = pytest.mark.skipif(
    not may_mount(), reason="mounting is not allowed here: the counted disk stands for it"
)


def run(folder: Path, *options: str) -> str:
    argv = ["unshare", "--mount", sys.executable, "-m", "tests.faults.full_disk", "--folder", str(folder)]
    done = subprocess.run([*argv, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    line = done.stdout.strip().rpartition("\n")[2]
    print(line)  # noqa: T201 - the figures are the result
    assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
    return line


@on_a_mount
def test_the_server_on_a_full_file_system_refuses_keeps_and_resumes(tmp_path: Path) -> None:
    assert " 0 lost, 0 doubled" in run(tmp_path / "disk", "--thin")


@on_a_mount
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_server_killed_on_a_full_file_system_keeps_and_resumes(tmp_path: Path) -> None:
    line = run(tmp_path / "disk")
    assert line.startswith("3 writers on ")
    assert " 1 kills, " in line
    assert " 0 lost, 0 doubled" in line


def test_a_disk_that_is_full_at_any_step_on_the_way_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step, from the frame to the deleted segment and the merged files, finds no room once."""
    monkeypatch.setattr(ingest_service, "_RETRY_S", 0.01)
    monkeypatch.setattr(delta, "CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(merge_plan, "FAN_IN", 3)
    durable_home.make(tmp_path / "home")
    acked: list[str] = []
    refused: list[str] = []

    async def main() -> list[durable_home.Count]:
        async with durable_home.opened(tmp_path / "home", linger_s=0) as parts:
            for point in (*STEPS, *MERGE_STEPS):
                failpoints.arm(f"{point}:enospc@1")
                await sent(parts, point, acked, refused)
                if point in MERGE_STEPS:
                    await merged(parts)
                assert failpoints._points[point].passes, f"{point} was not reached"
            found = durable_home.count(parts.warehouse, acked)
        failpoints.arm("")
        async with durable_home.opened(tmp_path / "home") as again:
            return [found, durable_home.count(again.warehouse, acked)]

    try:
        counts = asyncio.run(main())
    finally:
        failpoints.arm("")
    assert all(one.good for one in counts), counts
    assert len(acked) == (len(STEPS) + len(MERGE_STEPS)) * BATCHES
    assert len(refused) == sum(point.startswith("wal.append") for point in STEPS)
    assert all("Retry after" in hint for hint in refused)


async def sent(parts: durable_home.Parts, point: str, acked: list[str], refused: list[str]) -> None:
    """Send batches one by one, each until it is acknowledged, and flush each; the last one for sure."""
    for number in range(BATCHES):
        name = f"{point}-{number}"
        while name not in acked:
            try:
                await parts.service.append(batch(name))
                acked.append(name)
            except OutOfSpace as error:
                refused.append(str(error.hint))
        with contextlib.suppress(Unavailable):  # no room; what was acknowledged is kept
            await parts.service.flush(REF.account_id)
    await parts.service.flush(REF.account_id)


async def merged(parts: durable_home.Parts) -> None:
    """Merge the small files, which fails once; what is left of it at the second time is up to the step."""
    with pytest.raises(OSError, match="No space left"):
        await asyncio.to_thread(parts.warehouse.compact, REF)
    await asyncio.to_thread(parts.warehouse.compact, REF)
    snapshot = parts.warehouse.snapshot(REF)
    assert snapshot is not None
    assert any(path.name.startswith("merged-") for path in snapshot.files)
