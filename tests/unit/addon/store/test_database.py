"""The database's files are their owner's only."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from addon.store.audit import AuditLog
from addon.store.database import Database
from platform_core.base.clock import FixedClock

if TYPE_CHECKING:
    from pathlib import Path


def test_nobody_else_may_read_the_database_or_what_sqlite_keeps_beside_it(tmp_path: Path) -> None:
    former = os.umask(0)
    try:
        (tmp_path / "addon.db").touch(0o644)  # as earlier versions left it
        database = Database(f"sqlite:///{tmp_path}/addon.db")
        database.migrate()
        AuditLog(database, FixedClock()).record("platform", "provision", "x")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(former)
    assert modes == {"addon.db": 0o600, "addon.db-wal": 0o600, "addon.db-shm": 0o600}
