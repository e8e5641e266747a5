"""A scheduler on a database of its own, copied from one that is migrated once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from addon.store.database import Database
from tests.unit.addon.schedules.rig import Rig, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "addon.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.forget_old_pages()  # all of it is in the one file then
    database.close()
    return path


@pytest.fixture
def rig(tmp_path: Path, migrated_file: Path) -> Iterator[Rig]:
    shutil.copy(migrated_file, tmp_path / "addon.db")
    database = Database(f"sqlite:///{tmp_path}/addon.db")
    yield build(database)
    database.close()
