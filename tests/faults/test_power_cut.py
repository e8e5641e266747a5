"""The power goes at any moment, and the disk keeps what it likes of what was not synced."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from tests.faults import power_cut
from tests.faults.lossy_disk import LossyDisk
from tests.faults.op_trace import Call


def run(folder: Path, traces: int, cuts: int, seed: int, **options: int) -> None:
    line, failures = power_cut.run(folder, traces, cuts, seed, **options)
    print(line)  # noqa: T201 - the figures are the result
    assert not failures, "\n".join(failures[:3])
    assert " 0 lost, 0 doubled, 0 halved, 0 not recovered" in line


def test_eighty_power_cuts_lose_and_double_nothing(in_memory: Path) -> None:
    """Of another run each time, and of the run that went on after one of them."""
    seed = random.randrange(1 << 20)  # noqa: S311 - printed with the figures
    run(in_memory, traces=2, cuts=40, seed=seed, batches=60)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thousands_of_power_cuts_lose_and_double_nothing(in_memory: Path, seed: int) -> None:
    run(in_memory, traces=20, cuts=100, seed=seed)


def call(root: Path, name: str, *texts: bytes, path: str = "", descriptor: int | None = None) -> Call:
    where = f"{root}/{path}" if path else str(root)
    flags = "O_CREAT" if name == "openat" else ""
    return Call(name, 1 << 30, texts, descriptor, where, flags, len(texts[0]) if texts else 0)


def left_of(root: Path, calls: list[Call], keep: float) -> dict[str, bytes]:
    disk = LossyDisk(root)
    disk.replay(enumerate(calls))
    with tempfile.TemporaryDirectory() as target:
        disk.leave(Path(target) / "left", random.Random(1), keep)  # noqa: S311 - a reproducible choice
        return {path.name: path.read_bytes() for path in (Path(target) / "left").iterdir()}


def test_the_model_keeps_what_is_synced_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    opened = call(tmp_path, "openat", path="new", descriptor=3)
    written = call(tmp_path, "write", b"data", path="new", descriptor=3)
    file_synced = call(tmp_path, "fsync", path="new", descriptor=3)
    folder_synced = call(tmp_path, "fsync", descriptor=4)
    renamed = call(tmp_path, "rename", f"{tmp_path}/new".encode(), f"{tmp_path}/old".encode())
    assert left_of(tmp_path, [opened, written, file_synced], 0) == {"old": b"old"}
    assert left_of(tmp_path, [opened, written, folder_synced], 0) == {"old": b"old", "new": b""}
    synced = [opened, written, file_synced, folder_synced]
    assert left_of(tmp_path, synced, 0) == {"old": b"old", "new": b"data"}
    assert left_of(tmp_path, [*synced, renamed], 0) == {"old": b"old", "new": b"data"}
    assert left_of(tmp_path, [*synced, renamed], 1) == {"old": b"data"}
