"""A backup of a server under load, restored elsewhere: whole, sound, exactly once, and another writer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from addon.store.database import Database
from addon.upkeep.backup import back_up
from addon.upkeep.place import Place
from addon.upkeep.restore import copy_back, find
from addon.warehouse.objects.local import LocalObjects
from addon.warehouse.store import DeltaWarehouse
from platform_core.base.errors import Conflict, InvalidInput
from tests.faults import durable_home
from tests.faults.crash_cycles import REF, batch
from tests.faults.live_addon import LiveAddon, gzipped

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ROWS = 10


def upkeep(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "addon.upkeep", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def fsck(home: Path) -> tuple[int, dict[str, Any]]:
    done = upkeep("fsck", "--home", str(home), "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@dataclass
class Sender:
    """Imports numbered batches until told to stop; ``acked`` says how many were acknowledged in order."""

    addon: LiveAddon
    stop: threading.Event = field(default_factory=threading.Event)
    acked: int = 0

    def send(self, number: int) -> None:
        rows = [{"id": f"{number}/{n}", "time": 1_700_000_000 + n} for n in range(ROWS)]
        with self.addon.http() as client:
            answer = client.put(
                f"/v3/table/import_with_id/shop/events/b{number}/msgpack.gz", content=gzipped(rows)
            )
        answer.raise_for_status()

    def run(self) -> None:
        while not self.stop.is_set():
            self.send(self.acked)
            self.acked += 1
            self.stop.wait(0.02)  # the load: some dozens of batches a second


@pytest.fixture
def addon(tmp_path: Path) -> Iterator[LiveAddon]:
    live = LiveAddon(tmp_path / "home").start()
    live.make_table("shop", "events")
    yield live
    live.kill()


def found(addon: LiveAddon) -> tuple[int, int]:
    (row,) = addon.query("select count(*), count(distinct id) from events", "shop")
    return int(row[0]), int(row[1])


def test_a_backup_under_load_is_restored_whole_and_exactly_once(addon: LiveAddon, tmp_path: Path) -> None:
    sender, backups = Sender(addon), tmp_path / "backups"
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        for _ in range(2):
            while sender.acked % 20 != 10:
                sender.stop.wait(0.002)
            before = sender.acked
            done = upkeep("backup", "--home", str(addon.home), str(backups))
            assert done.returncode == 0, done.stderr
            assert fsck(addon.home)[0] == 0
    finally:
        sender.stop.set()
        thread.join()
    writer = json.loads((addon.home / "addon" / "wal" / "writer.json").read_bytes())["name"]
    assert addon.stop() == 0

    other = tmp_path / "other"
    done = upkeep("restore", "--home", str(other), str(backups))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sound" in done.stdout
    again = LiveAddon(other).start()
    try:
        rows, ids = found(again)
        assert rows == ids
        assert before * ROWS <= rows <= sender.acked * ROWS
        assert not rows % ROWS
        resender = Sender(again)
        for number in range(sender.acked):  # whatever the backup has of them counts once
            resender.send(number)
        assert found(again) == (sender.acked * ROWS, sender.acked * ROWS)
    finally:
        assert again.stop() == 0
    assert json.loads((other / "addon" / "wal" / "writer.json").read_bytes())["name"] != writer
    assert fsck(other)[1]["looked_at"]["rows"] == sender.acked * ROWS
    print(f"2 backups under load, {sender.acked} acked, 0 lost, 0 doubled")  # noqa: T201 - the result


async def one_batch(home: Path) -> None:
    async with durable_home.opened(home) as parts:
        await parts.service.append(batch("a-1"))
        await parts.service.flush(REF.account_id)


def test_a_restore_refuses_a_full_home_and_a_damaged_backup(tmp_path: Path) -> None:
    home, backups = tmp_path / "home" / "addon", tmp_path / "backups"
    durable_home.make(home)
    asyncio.run(one_batch(home))
    database = Database(f"sqlite:///{home / 'addon.db'}")
    place = Place(home.parent, home, database, LocalObjects(home / "warehouse"))
    done = [back_up(place, backups) for _ in range(2)]
    database.close()
    assert [one.rows() for one in done] == [ROWS, ROWS]
    assert (done[1].linked, done[1].copied) == (1, 0)
    assert find(backups) == done[1].folder
    with pytest.raises(Conflict, match="is not empty"):
        copy_back(backups, home.parent)
    saved = done[1].folder / "addon" / "addon.db"
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match=r"addon\.db is not what it was"):
        copy_back(backups, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    copy_back(done[0].folder, tmp_path / "new")
    assert len(durable_home.ids(DeltaWarehouse(tmp_path / "new" / "addon" / "warehouse"))) == ROWS
