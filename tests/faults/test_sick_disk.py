"""Syncs that fail, and syncs that take long: no false acknowledgement, bounded memory, and on by itself."""

from __future__ import annotations

import asyncio
import errno
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from addon.adapters.memory import MemoryCatalog, MemoryUploadLedger
from addon.ingest.disk import LocalDisk
from addon.ingest.limits import IngestLimits
from addon.ingest.service import IngestService
from addon.warehouse.store import DeltaWarehouse
from platform_core.base.errors import SluiceError, Unavailable
from tests.faults import durable_home
from tests.faults.crash_cycles import REF, ROWS, batch

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class SickDisk(LocalDisk):
    """A disk whose operations fail at random, and are slow."""

    rng: random.Random
    failing: float = 0.0
    sync_s: float = 0.0
    failed: int = 0
    syncs: int = 0
    codes: list[int] = field(default_factory=lambda: [errno.EIO, errno.ENOSPC, errno.EROFS])

    def _maybe_fail(self) -> None:
        if self.rng.random() < self.failing:
            self.failed += 1
            raise OSError(self.rng.choice(self.codes), "the disk is sick")

    def write(self, descriptor: int, parts: list[bytes]) -> None:
        if self.rng.random() < self.failing:
            super().write(descriptor, [b"".join(parts)[: self.rng.randrange(50)]])
            self._maybe_fail()
            raise OSError(errno.EIO, "half-written")
        super().write(descriptor, parts)

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        time.sleep(self.sync_s)  # what a slow disk does
        self._maybe_fail()
        super().sync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        self._maybe_fail()
        super().truncate(descriptor, length)

    def sync_folder(self, folder: Path) -> None:
        self._maybe_fail()
        super().sync_folder(folder)


def service_on(home: Path, disk: SickDisk, **options: object) -> tuple[IngestService, DeltaWarehouse]:
    catalog = MemoryCatalog()
    catalog.ensure_table(REF)
    warehouse = DeltaWarehouse(home / "warehouse")
    made = IngestService(home / "wal", warehouse, catalog, MemoryUploadLedger(), disk=disk, **options)  # type: ignore[arg-type]
    return made, warehouse


async def write_all(service: IngestService, writer: int, batches: int) -> int:
    """Send this writer's batches, each until it is acknowledged; return how often it was refused."""
    refused = 0
    for number in range(batches):
        while True:
            try:
                await service.append(batch(f"w{writer}-{number}"))
                break
            except SluiceError:
                refused += 1
                await asyncio.sleep(0)
    return refused


@pytest.mark.parametrize("restart", [False, True])
def test_failing_syncs_give_no_false_acknowledgement(tmp_path: Path, *, restart: bool) -> None:
    seed = random.randrange(1 << 20)  # noqa: S311 - printed
    disk = SickDisk(random.Random(seed))  # noqa: S311 - reproducible
    batches = 60

    async def live() -> int:
        service, _ = service_on(tmp_path, disk, linger_s=60.0 if restart else 0.02)
        await service.start()
        disk.failing = 0.2
        refused = sum(await asyncio.gather(*(write_all(service, n, batches) for n in range(3))))
        disk.failing = 0.0
        if restart:  # the log alone must have them all: it is left as a crash would leave it
            await service._wal.close()
            service._task.cancel()  # type: ignore[union-attr]
            service._upkeep.cancel()  # type: ignore[union-attr]
        else:
            await service.close()
        return refused

    refused = asyncio.run(live())
    names = [f"w{writer}-{number}" for writer in range(3) for number in range(batches)]

    async def look() -> durable_home.Count:
        service, warehouse = service_on(tmp_path, SickDisk(random.Random(1)))  # noqa: S311 - healthy
        await service.start()
        await service.close()
        return durable_home.count(warehouse, names)

    found = asyncio.run(look())
    print(  # noqa: T201 - the result
        f"seed {seed}: {disk.failed} failed calls, {refused} refused, {len(names)} acked, "
        f"{found.lost} lost, {found.doubled} doubled"
    )
    assert disk.failed > 3
    assert found.good


def test_a_slow_disk_costs_patience_and_no_memory(tmp_path: Path) -> None:
    disk = SickDisk(random.Random(1))  # noqa: S311 - never fails
    limits = IngestLimits(unflushed_bytes=60_000)

    async def live() -> tuple[int, int, int]:
        service, warehouse = service_on(tmp_path, disk, limits=limits, linger_s=5.0)
        await service.start()
        disk.sync_s = 0.2
        most = refused = acked = 0

        async def send(number: int) -> None:
            nonlocal most, refused, acked
            try:
                await service.append(batch(f"s-{number}"))
                acked += 1
            except Unavailable as error:
                refused += "Retry after" in (error.hint or "")
            most = max(most, service._pending.weight + service._pending.expected)

        await asyncio.gather(*(send(number) for number in range(600)))
        disk.sync_s = 0.0
        await service.flush(REF.account_id)
        assert len(durable_home.ids(warehouse)) == acked * ROWS
        await service.close()
        return most, refused, acked

    most, refused, acked = asyncio.run(live())
    assert refused > 100, "more was taken than may wait"
    assert acked > 20
    assert most <= limits.unflushed_bytes + 2_000
    assert disk.syncs < acked, "one sync serves many"
