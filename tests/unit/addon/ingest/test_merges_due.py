"""When the flush looks for files to merge."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from addon.models.ingest import Batch, BodyKind
from addon.models.tables import TableRef
from addon.warehouse import merge_plan

if TYPE_CHECKING:
    import pytest

REF = TableRef(1, "shop", "events")


def rows(number: int) -> Batch:
    body = b'{"n":%d,"time":1700000000}\n' % number
    return Batch(BodyKind.NDJSON, REF.account_id, REF.database, REF.table, body, 1.7e9, None)


async def life(rig: Any, batches: int) -> int:
    """Commit so many files in one life of the service; return how many files the table has then."""
    service, looked = rig.service(), threading.Event()
    upkeep = service._flusher.upkeep

    def and_tell() -> None:
        upkeep()
        looked.set()

    service._flusher.upkeep = and_tell
    await service.start()
    for number in range(batches):
        await service.append(rows(number))
        await service.flush(REF.account_id)
        assert await asyncio.to_thread(looked.wait, 60)
    await service.close()
    snapshot = rig.warehouse.snapshot(REF)
    assert snapshot is not None
    return len(snapshot.files)


def test_many_files_of_earlier_lives_are_merged_after_the_first_commit_of_this_one(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_plan, "FAN_IN", 6)
    rig.table("shop", "events")
    assert [asyncio.run(life(rig, 2)) for _ in range(2)] == [2, 4]
    assert asyncio.run(life(rig, 2)) == 6
    assert asyncio.run(life(rig, 1)) == 1
