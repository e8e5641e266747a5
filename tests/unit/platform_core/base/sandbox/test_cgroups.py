"""The cgroup adapters on folders that stand for the kernel's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from platform_core.base.sandbox.cgroups import (
    CgroupsV2,
    NoCgroups,
    memory_in_use,
    oom_kills,
    open_cgroups,
)
from platform_core.base.sandbox.spec import SandboxSpec

if TYPE_CHECKING:
    from pathlib import Path

SPEC = SandboxSpec(argv=["x"], env={}, cwd="/", uid=1, memory_bytes=1 << 26, max_pids=16, cpu_cores=1.5)


def test_v2_writes_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.subtree_control").touch()
    files: dict[str, str] = {}
    monkeypatch.setattr(
        "platform_core.base.sandbox.cgroups._write", lambda path, value: files.update({path.name: str(value)})
    )
    group = CgroupsV2(tmp_path, "7").create("1", SPEC, own_pids=2)
    assert files == {
        "cgroup.subtree_control": "+memory +pids +cpu",
        "memory.max": str(1 << 26),
        "memory.swap.max": "0",
        "pids.max": "18",
        "cpu.max": "150000 100000",
    }
    assert group.join_paths() == [str(tmp_path / "sluice-7" / "1" / "cgroup.procs").encode()]
    assert group.remove()
    assert group.remove()


def test_a_machine_without_cgroups_says_so(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mounts").write_text("tmpfs / tmpfs rw 0 0\n")
    found = open_cgroups("1", proc=tmp_path)
    assert isinstance(found, NoCgroups)
    assert found.reason == "no cgroup hierarchy is mounted"
    assert found.create("1", SPEC).join_paths() == []


def test_a_hierarchy_we_may_not_write_is_none(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mounts").write_text(f"cgroup2 {tmp_path}/nowhere cgroup2 rw 0 0\n")
    (tmp_path / "self" / "cgroup").write_text("0::/user.slice\n")
    found = open_cgroups("1", proc=tmp_path)
    assert isinstance(found, NoCgroups)
    assert "cannot be used" in found.reason


def test_v1_controllers_win_on_a_hybrid_machine(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    mounts = []
    for name in ("memory", "pids", "cpu"):
        (tmp_path / name / "mine").mkdir(parents=True)
        mounts.append(f"cgroup {tmp_path}/{name} cgroup rw,{name} 0 0")
    mounts.append(f"cgroup2 {tmp_path}/unified cgroup2 rw 0 0")
    (tmp_path / "self" / "mounts").write_text("\n".join(mounts))
    (tmp_path / "self" / "cgroup").write_text("3:memory:/mine\n2:pids:/\n1:cpu,cpuacct:/elsewhere\n0::/\n")
    found = open_cgroups("999999999", proc=tmp_path)
    assert found.version == "v1"
    assert (tmp_path / "memory" / "mine" / "sluice-999999999").is_dir()
    assert (tmp_path / "pids" / "sluice-999999999").is_dir()
    assert (tmp_path / "cpu" / "sluice-999999999").is_dir()  # the path is not there: a container's view
    found.close()
    assert not (tmp_path / "pids" / "sluice-999999999").exists()


def test_only_what_dead_spawners_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").touch()
    for name in ("sluice-1", "sluice-999999999"):
        (tmp_path / name / "3").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):  # the new folder has no subtree_control: not the kernel's
        CgroupsV2(tmp_path, "5")
    assert sorted(path.name for path in tmp_path.glob("sluice-*")) == ["sluice-1", "sluice-5"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        ("memory.events", "low 0\noom 9\noom_kill 3\n"),
    ],
)
def test_oom_kills_are_read_on_both_versions(tmp_path: Path, name: str, text: str) -> None:
    assert oom_kills(tmp_path) == 0
    (tmp_path / name).write_text(text)
    assert oom_kills(tmp_path) == 3
    assert oom_kills(None) == 0


def test_memory_in_use_is_what_cannot_be_dropped(tmp_path: Path) -> None:
    assert memory_in_use(None) is None
    assert memory_in_use(tmp_path) is None
    (tmp_path / "memory.stat").write_text("cache 900\nrss 1\ntotal_rss 10\ntotal_shmem 5\ntotal_swap 2\n")
    assert memory_in_use(tmp_path) == 17
    (tmp_path / "memory.stat").write_text("anon 10\nfile 900\nshmem 5\n")
    (tmp_path / "memory.swap.current").write_text("4\n")
    assert memory_in_use(tmp_path) == 19
