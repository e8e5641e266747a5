"""A disk that is really full: appends are refused with a time to come back, and nothing else breaks."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import random
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import httpx
import pytest

from addon.adapters.memory import MemoryCatalog, MemoryUploadLedger
from addon.ingest.disk import LocalDisk
from addon.ingest.service import IngestService
from addon.ingest.wal import WalLimits
from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.warehouse.store import DeltaWarehouse
from addon.warehouse.view import view_sql
from platform_core.base.errors import OutOfSpace
from tests.faults.live_addon import LiveAddon, gzipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = 10
_MB = 1 << 20


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def body(name: str) -> bytes:
    """Return the batch of that name: rows that hardly compress."""
    rng = random.Random(name)  # noqa: S311 - reproducible bytes
    return gzipped(
        [
            {
                "id": f"{name}/{n}",
                "time": 1_700_000_000,
                "x": base64.b85encode(rng.randbytes(20_000)).decode(),
            }
            for n in range(ROWS)
        ]
    )


@dataclass
class Sender:
    """Imports batches under rising ids and keeps what was acknowledged."""

    addon: LiveAddon
    client: httpx.Client
    acked: list[str] = field(default_factory=list)

    def send(self) -> httpx.Response:
        name = f"b{len(self.acked)}"
        path = f"/v3/table/import_with_id/shop/events/{name}/msgpack.gz"
        answer = self.client.put(path, content=body(name))
        if answer.status_code == 200:
            self.acked.append(name)
        return answer

    def fill(self) -> httpx.Response:
        """Send until the disk is full for good: refused for a second on end."""
        refused_since = None
        for _ in range(2_000):
            answer = self.send()
            if answer.status_code == 200:
                refused_since = None
                continue
            refused_since = refused_since or time.monotonic()
            if answer.status_code == 507 and time.monotonic() - refused_since > 1.2:
                return answer
            time.sleep(0.05)
        raise AssertionError("the disk never filled up")

    def check_rows(self) -> None:
        """Compare the table with what was acknowledged."""
        counted = self.addon.query("select count(*), count(distinct id) from events", "shop")
        assert counted == [[len(self.acked) * ROWS] * 2]


def fill_up(path: Path) -> None:
    """Take all the room that is left, as a neighbour would."""
    with path.open("wb", buffering=0) as file:
        for size in (_MB, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def on_a_real_disk(folder: Path) -> None:
    with small_disk(folder, "28m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * (10 * _MB))
        addon = LiveAddon(disk / "home").start()
        try:
            addon.make_table("shop", "events")
            with addon.http() as client:
                sender = Sender(addon, client)
                refusal = sender.fill()
                assert int(refusal.headers["retry-after"]) > 0
                assert "full" in refusal.json()["error"]
                assert len(sender.acked) > 20
                sender.check_rows()
                neighbour = disk / "neighbour"
                fill_up(neighbour)
                assert sender.send().status_code in {503, 507}
                assert client.get("/healthz").status_code == 200
                sender.check_rows()
                neighbour.unlink()
                assert sender.send().status_code in {503, 507}
                ballast.unlink()
                before = len(sender.acked)
                deadline = time.monotonic() + 10
                while len(sender.acked) < before + 5 and time.monotonic() < deadline:
                    sender.send()
                assert len(sender.acked) >= before + 5, "it did not resume by itself"
                sender.check_rows()
            assert addon.stop() == 0
        finally:
            addon.kill()


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


@pytest.mark.skipif(not may_mount(), reason="mounting is not allowed here: the counted disk stands for it")
def test_the_server_on_a_full_file_system_refuses_keeps_and_resumes(tmp_path: Path) -> None:
    on_a_real_disk(tmp_path / "disk")
