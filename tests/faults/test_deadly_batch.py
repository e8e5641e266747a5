"""A batch whose decoding kills the program, as a crash in a C parser would, is put aside in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from addon.ingest import flusher, probe
from addon.models.ingest import Batch, BodyKind
from tests.faults import durable_home
from tests.faults.crash_cycles import REF, ROWS, batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from addon.ingest.record import Record

ROOT = Path(__file__).parents[2]
_POISON = b'{"id":"poison-0","time":1700000000}\n'


def deadly(records: Sequence[Record], *arguments: object, **options: object) -> object:
    """Decode as the program does, but die on the poison."""
    if any(record.batch.body == _POISON for record in records):
        os.kill(os.getpid(), signal.SIGKILL)
    return _DECODE(records, *arguments, **options)  # type: ignore[arg-type]


_DECODE = flusher.decode_records


async def first_life(home: Path) -> None:
    async with durable_home.opened(home, linger_s=60) as parts:
        poison = Batch(BodyKind.NDJSON, REF.account_id, REF.database, REF.table, _POISON, 1.7e9, "poison")
        for one in (batch("a-1"), poison, batch("a-2")):
            await parts.service.append(one)
        await parts.service.flush(REF.account_id)


async def later_life(home: Path) -> list[str]:
    async with durable_home.opened(home) as parts:
        await parts.service.flush(REF.account_id)
        assert parts.service.stats.quarantined == 1
        return durable_home.ids(parts.warehouse)


def life(home: Path, kind: str) -> int:
    """Run one life of the program in a process of its own; return how it ended."""
    argv = [sys.executable, "-m", "tests.faults.test_deadly_batch", kind, str(home)]
    return subprocess.run(argv, cwd=ROOT, check=False, capture_output=True, timeout=100).returncode


def lives(home: Path) -> int:
    """Start the program until it survives; return how often it died."""
    for deaths in range(12):
        ended = life(home, "later" if deaths else "first")
        if ended >= 0:
            assert ended == 0
            return deaths
        assert ended == -signal.SIGKILL
    raise AssertionError("it never survived")


def test_a_batch_that_kills_the_program_is_put_aside_after_some_deaths(tmp_path: Path) -> None:
    home = tmp_path / "home"
    durable_home.make(home)
    deaths = lives(home)
    assert deaths == 4
    kept = list((home / "wal" / "quarantine").glob("*.batch"))
    assert [path.read_bytes().endswith(_POISON) for path in kept] == [True]
    assert not (home / "wal" / "flushing.json").exists()
    found = asyncio.run(after(home))
    assert len(found) == len(set(found)) == 2 * ROWS


async def after(home: Path) -> list[str]:
    async with durable_home.opened(home) as parts:
        return durable_home.ids(parts.warehouse)


def main(arguments: list[str]) -> int:
    """Be a life of the program, or the probe that it starts; both with the deadly parser."""
    flusher.decode_records = probe.decode_records = deadly  # type: ignore[assignment]
    if arguments[0] not in {"first", "later"}:
        return probe.main(arguments)
    probe.COMMAND = (sys.executable, "-m", "tests.faults.test_deadly_batch")
    asyncio.run((first_life if arguments[0] == "first" else later_life)(Path(arguments[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
