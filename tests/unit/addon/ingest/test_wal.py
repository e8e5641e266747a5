"""The log by itself: group commit, rotation, numbers that never come back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from addon.ingest.segments import SegmentFolder
from addon.ingest.wal import Wal, WalLimits
from platform_core.base.errors import Unavailable


def opened(rig: Any, **limits: int) -> Wal:
    return Wal(SegmentFolder(rig.home / "wal", rig.disk), rig.disk, WalLimits(**limits))


def payloads(wal: Wal) -> list[bytes]:
    found = []
    for segment in wal._sealed:
        data, scan = wal.folder.read(segment)
        found += [data[frame.start : frame.end] for frame in scan.frames]
    return found


def test_many_waiting_appends_share_one_sync(rig: Any) -> None:
    async def main() -> None:
        wal = opened(rig)
        wal.open(asyncio.get_running_loop())
        await wal.append((b"first",), 5)
        before = rig.disk.syncs
        await asyncio.gather(*(wal.append((b"%d" % n, b"!"), 2) for n in range(200)))
        assert rig.disk.syncs - before < 50
        await wal.seal()
        assert payloads(wal) == [b"first", *(b"%d!" % n for n in range(200))]
        await wal.close()

    asyncio.run(main())


def test_segments_rotate_by_size_and_by_weight_and_numbers_rise_over_restarts(rig: Any) -> None:
    async def main() -> None:
        wal = opened(rig, segment_bytes=100, segment_weight=1_000)
        wal.open(asyncio.get_running_loop())
        numbers = [
            await wal.append((b"x" * 120,), 1),
            await wal.append((b"y",), 1_000),
            await wal.append((b"z",), 1),
        ]
        assert numbers == sorted(set(numbers))
        for segment in await wal.seal():
            wal.discard(segment)
        await wal.close()
        again = opened(rig)
        assert again.open(asyncio.get_running_loop()) == []
        assert await again.append((b"later",), 1) > numbers[-1]
        await again.close()

    asyncio.run(main())


def test_a_lost_identity_with_segments_left_refuses_to_start(rig: Any) -> None:
    async def main() -> None:
        wal = opened(rig)
        wal.open(asyncio.get_running_loop())
        await wal.append((b"x",), 1)
        await wal.close()
        (rig.home / "wal" / "writer.json").unlink()
        with pytest.raises(Unavailable, match="is gone"):
            opened(rig).open(asyncio.get_running_loop())

    asyncio.run(main())
