"""What was put aside comes back once its cause is mended, and only once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from addon.ingest import flusher, service
from addon.models.ingest import Batch, BodyKind
from addon.provisioning.credentials import ensure_credentials
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.upkeep import __main__ as commands
from addon.upkeep.replay import Replay, Replayed
from addon.warehouse.store import DeltaWarehouse
from platform_core.base.clock import SystemClock
from tests.faults import durable_home
from tests.faults.crash_cycles import REF, ROWS, batch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(service, "_RETRY_S", 0.01)
    durable_home.make(tmp_path / "home")
    return tmp_path / "home"


async def until_flushed(running: Any) -> None:
    async with asyncio.timeout(30):
        while running._pending.accounts:  # noqa: ASYNC110 - the books have no event
            await asyncio.sleep(0.01)


async def put_aside(home: Path, batches: list[Batch]) -> int:
    async with durable_home.opened(home) as parts:
        for one in batches:
            await parts.service.append(one)
        await until_flushed(parts.service)
        return parts.service.stats.quarantined


async def replayed(home: Path, *, letters: bool = False) -> tuple[Replayed, list[str]]:
    database = Database(f"sqlite:///{home / 'addon.db'}")
    try:
        async with durable_home.opened(home) as parts:
            again = Replay(parts.service, parts.warehouse, SqlCatalog(database, SystemClock()))
            if letters:
                done = await again.dead_letters([REF.account_id])
            else:
                key = parts.service._wal.folder.writer.key
                done = await again.quarantine(home / "wal" / "quarantine", key)
            await parts.service.flush(REF.account_id)
            return done, durable_home.ids(parts.warehouse)
    finally:
        database.close()


def failing(real: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if when(*arguments):
            raise ZeroDivisionError("a bug")
        return real(*arguments, **options)

    return call


def test_a_quarantined_batch_comes_back_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as bug:
        bad = failing(
            flusher.decode_records, lambda records, *_: any(r.batch.upload_id == "b" for r in records)
        )
        bug.setattr(flusher, "decode_records", bad)
        assert asyncio.run(put_aside(home, [batch("a"), batch("b"), batch("c")])) == 1
    (kept,) = (home / "wal" / "quarantine").iterdir()
    text = kept.read_bytes()
    for _ in range(2):  # the second time as if the first had died before it deleted the file
        kept.write_bytes(text)
        done, ids = asyncio.run(replayed(home))
        assert (done.files, done.refused) == (1, 0)
        assert len(ids) == len(set(ids)) == 3 * ROWS
        assert not kept.exists()


def test_a_replay_runs_beside_the_service_on_the_same_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / "addon"
    durable_home.make(folder)
    ensure_credentials(folder / "credentials.json")
    monkeypatch.setattr(service, "_RETRY_S", 0.01)
    monkeypatch.setattr(commands, "configure_logs", lambda: None)
    with monkeypatch.context() as bug:
        bad = failing(flusher.decode_records, lambda *_: True)
        bug.setattr(flusher, "decode_records", bad)
        assert asyncio.run(put_aside(folder, [batch("a"), batch("b")])) == 2

    async def main() -> list[str]:
        async with durable_home.opened(folder) as parts:
            await parts.service.append(batch("c"))
            replaying = asyncio.create_task(
                asyncio.to_thread(commands.main, ["replay", "--home", str(tmp_path / "home")])
            )
            number = 0
            while not replaying.done():
                await parts.service.append(batch(f"beside-{number}"))
                await parts.service.flush(REF.account_id)
                number += 1
            assert await replaying == 0
            assert {parts.service.stats.duplicates, parts.service.stats.flush_failures} == {0}
            rows = durable_home.ids(parts.warehouse)
            assert len(rows) == (3 + number) * ROWS
            return rows

    ids = asyncio.run(main())
    assert len(set(ids)) == len(ids)
    assert not list((folder / "wal" / "quarantine").iterdir())


def test_quarantined_rows_come_back_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(put_aside(home, [batch("a")]))
    with monkeypatch.context() as bug:
        bad = failing(DeltaWarehouse.commit, lambda _self, item, *_: item.ref == REF)
        bug.setattr(DeltaWarehouse, "commit", bad)
        assert asyncio.run(put_aside(home, [batch("b")])) == 1
    (kept,) = (home / "wal" / "quarantine").iterdir()
    assert kept.suffix == ".parquet"
    data = kept.read_bytes()
    for _ in range(2):
        kept.write_bytes(data)
        done, ids = asyncio.run(replayed(home))
        assert (done.files, done.refused) == (1, 0)
        assert len(ids) == len(set(ids)) == 2 * ROWS


def test_dead_letters_come_back_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from addon.ingest import json_lines  # noqa: PLC0415 - patched

    body = b'{"id":"good-0","time":1700000000}\n{"id":"odd-0","time":1700000000}\n'
    one = Batch(BodyKind.NDJSON, REF.account_id, REF.database, REF.table, body, 1.7e9, "mixed")
    with monkeypatch.context() as bug:
        real = json_lines.line_fault
        bug.setattr(json_lines, "line_fault", lambda line: "malformed_json" if b"odd" in line else real(line))
        bug.setattr(json_lines, "is_clean", lambda *_: False)
        asyncio.run(put_aside(home, [one]))
    for round_ in range(2):
        done, ids = asyncio.run(replayed(home, letters=True))
        assert sorted(ids) == ["good-0", "odd-0"]
        assert (done.batches, done.duplicates, done.refused) == (1 - round_, round_, 0)
