"""A scheduler on a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from addon.store.database import Database
from tests.unit.addon.schedules.rig import Rig, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    database = Database(f"sqlite:///{tmp_path}/addon.db")
    database.migrate()
    yield build(database)
    database.close()
