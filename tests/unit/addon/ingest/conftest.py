"""The ingest service on a temporary folder, and a disk that fails on demand."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from addon.adapters.memory import MemoryCatalog, MemoryUploadLedger
from addon.ingest.disk import LocalDisk
from addon.ingest.service import IngestService
from addon.models.tables import TableRef
from addon.warehouse.store import DeltaWarehouse
from addon.warehouse.view import view_sql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class FaultyDisk(LocalDisk):
    """The real disk, with faults switched on by name and every sync counted."""

    full: bool = False
    failing_syncs: int = 0
    failing_truncates: int = 0
    syncs: int = 0
    free: int | None = None
    calls: list[str] = field(default_factory=list)

    def write(self, descriptor: int, parts: list[bytes]) -> None:
        if self.full:
            super().write(descriptor, [parts[0][:10]])
            raise OSError(errno.ENOSPC, "full")
        super().write(descriptor, parts)

    def sync(self, descriptor: int) -> None:
        self.syncs += 1
        if self.failing_syncs:
            self.failing_syncs -= 1
            raise OSError(errno.EIO, "lost")
        super().sync(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        if self.failing_truncates:
            self.failing_truncates -= 1
            raise OSError(errno.EIO, "lost")
        super().truncate(descriptor, length)

    def free_bytes(self, folder: Path) -> int:
        return super().free_bytes(folder) if self.free is None else self.free


class Rig:
    """A service and everything around it on one folder; survives restarts of the service."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.disk = FaultyDisk()
        self.catalog = MemoryCatalog()
        self.ledger = MemoryUploadLedger()
        self.warehouse = DeltaWarehouse(home / "warehouse")

    def service(self, **options: Any) -> IngestService:
        options = {"disk": self.disk, "linger_s": 0.02, **options}
        return IngestService(self.home / "wal", self.warehouse, self.catalog, self.ledger, **options)

    def table(self, database: str, name: str, account: int = 1) -> TableRef:
        ref = TableRef(account, database, name)
        self.catalog.ensure_table(ref)
        return ref

    def rows(self, database: str, name: str, account: int = 1, columns: str = "*") -> list[tuple[Any, ...]]:
        snapshot = self.warehouse.snapshot(TableRef(account, database, name))
        if snapshot is None:
            return []
        view = view_sql(snapshot, [str(path) for path in snapshot.files])
        return duckdb.sql(f"select {columns} from ({view}) order by all").fetchall()  # noqa: S608 - test


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def make_rig(tmp_path: Path) -> Callable[[str], Rig]:
    return lambda name: Rig(tmp_path / name)
