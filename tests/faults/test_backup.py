"""A backup of a server under load, restored elsewhere: whole, sound, exactly once, and another writer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

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


def test_a_restore_refuses_a_full_home_and_a_damaged_backup(addon: LiveAddon, tmp_path: Path) -> None:
    Sender(addon).send(1)
    backups = tmp_path / "backups"
    assert upkeep("backup", "--home", str(addon.home), str(backups)).returncode == 0
    full = upkeep("restore", "--home", str(addon.home), str(backups))
    assert full.returncode == 1
    assert "is not empty" in full.stderr
    saved = next(backups.glob("*/addon/addon.db"))
    saved.write_bytes(saved.read_bytes()[:-1])
    damaged = upkeep("restore", "--home", str(tmp_path / "new"), str(backups))
    assert damaged.returncode == 1
    assert "addon.db is not what it was" in damaged.stderr
    assert not (tmp_path / "new").exists()


def test_fsck_names_the_file_whose_bytes_changed(addon: LiveAddon) -> None:
    Sender(addon).send(1)
    assert found(addon) == (ROWS, ROWS)
    assert addon.stop() == 0
    assert fsck(addon.home) == (0, fsck(addon.home)[1])
    (file,) = (addon.home / "addon" / "warehouse").rglob("sluice-*.parquet")
    whole = file.read_bytes()
    for position in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        file.write_bytes(damaged)
        if position % (97 * 8) == 0:
            status, report = fsck(addon.home)
            assert status == 1
            assert [one["where"].rpartition("/")[2] for one in report["findings"]] == [file.name]
    file.unlink()
    status, report = fsck(addon.home)
    assert status == 1
    assert "it is gone" in report["findings"][0]["what"]
