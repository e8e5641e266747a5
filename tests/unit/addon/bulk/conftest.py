"""The room on a temporary folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.bulk_rig import BulkRig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[BulkRig]:
    made = BulkRig(tmp_path)
    yield made
    made.close()
