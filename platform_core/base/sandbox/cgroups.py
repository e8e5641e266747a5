"""Limits on memory, processes and CPU through cgroups: adapters for v1, v2 and none behind one small port.

The spawner makes one group per sandboxed process, inside the group it runs in itself, so that an outer
limit still holds. Hybrid machines (v1 controllers beside an almost empty v2 tree) count as v1.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from platform_core.base.sandbox.spec import SandboxSpec

CPU_PERIOD_US = 100_000
_PREFIX = "sluice-"


@dataclass(frozen=True, slots=True)
class Group:
    """One process's groups: a folder per controller on v1, a single one on v2, none without cgroups."""

    folders: Sequence[Path] = ()
    memory: Path | None = None
    """The folder with the memory controller's files."""

    def join_paths(self) -> list[bytes]:
        """Return the files into which a process writes itself to join."""
        return [os.fsencode(folder / "cgroup.procs") for folder in self.folders]

    def pids(self) -> list[int]:
        """Return the members' pids."""
        found: set[int] = set()
        for folder in self.folders:
            with contextlib.suppress(OSError):
                found.update(map(int, (folder / "cgroup.procs").read_text().split()))
        return sorted(found)

    def remove(self) -> bool:
        """Remove the folders; False while the kernel still holds one of them."""
        gone = True
        for folder in self.folders:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


class Cgroups(Protocol):
    """Makes groups and reads them."""

    @property
    def version(self) -> str:
        """``v1``, ``v2`` or ``none``."""

    def create(self, name: str, spec: SandboxSpec, own_pids: int = 0) -> Group:
        """Make a group with the limits of ``spec`` and room for ``own_pids`` processes of the sandbox."""

    def close(self) -> None:
        """Remove the spawner's own folder; its groups must be gone."""


class NoCgroups:
    """The adapter for machines where we may not make groups: enforces nothing, says so in ``reason``."""

    version = "none"

    def __init__(self, reason: str = "") -> None:
        """Remember why, for the isolation report."""
        self.reason = reason

    def create(self, name: str, spec: SandboxSpec, own_pids: int = 0) -> Group:  # noqa: ARG002  # the port's
        """Return an empty group."""
        return Group()

    def close(self) -> None:
        """Nothing to remove."""


class CgroupsV1:
    """The v1 adapter: one folder in each of the memory, pids and cpu hierarchies."""

    version = "v1"
    controllers = ("memory", "pids", "cpu")

    def __init__(self, roots: Mapping[str, Path], name: str) -> None:
        """Make our own folder below ``roots[controller]`` for each controller.

        Raises:
            OSError: we may not.
        """
        self._own = {controller: roots[controller] / f"{_PREFIX}{name}" for controller in self.controllers}
        for folder in self._own.values():
            _sweep(folder.parent)
            folder.mkdir(exist_ok=True)

    def create(self, name: str, spec: SandboxSpec, own_pids: int = 0) -> Group:
        """Make a group with the limits of ``spec`` and room for ``own_pids`` processes of the sandbox."""
        folders = {controller: own / name for controller, own in self._own.items()}
        for folder in folders.values():
            folder.mkdir(parents=True)  # our own folder too: a spawner in another container may sweep it
        if spec.memory_bytes is not None:
            _write(folders["memory"] / "memory.limit_in_bytes", spec.memory_bytes)
            with contextlib.suppress(FileNotFoundError):  # absent where swap accounting is off
                _write(folders["memory"] / "memory.memsw.limit_in_bytes", spec.memory_bytes)
        if spec.max_pids is not None:
            _write(folders["pids"] / "pids.max", spec.max_pids + own_pids)
        if spec.cpu_cores is not None:
            _write(folders["cpu"] / "cpu.cfs_period_us", CPU_PERIOD_US)
            _write(folders["cpu"] / "cpu.cfs_quota_us", int(spec.cpu_cores * CPU_PERIOD_US))
        return Group(tuple(folders.values()), folders["memory"])

    def close(self) -> None:
        """Remove our own folders."""
        for folder in self._own.values():
            with contextlib.suppress(OSError):
                folder.rmdir()


class CgroupsV2:
    """The v2 adapter: one folder, with the controllers handed down to it."""

    version = "v2"
    controllers = ("memory", "pids", "cpu")

    def __init__(self, root: Path, name: str) -> None:
        """Make our own folder below ``root`` and hand the controllers down through it.

        Raises:
            OSError: we may not; ``EBUSY`` when ``root`` holds processes itself.
        """
        enable = " ".join(f"+{controller}" for controller in self.controllers)
        _write(root / "cgroup.subtree_control", enable)
        _sweep(root)
        self._own = root / f"{_PREFIX}{name}"
        self._own.mkdir(exist_ok=True)
        _write(self._own / "cgroup.subtree_control", enable)

    def create(self, name: str, spec: SandboxSpec, own_pids: int = 0) -> Group:
        """Make a group with the limits of ``spec`` and room for ``own_pids`` processes of the sandbox."""
        folder = self._own / name
        folder.mkdir()
        if spec.memory_bytes is not None:
            _write(folder / "memory.max", spec.memory_bytes)
            with contextlib.suppress(FileNotFoundError):
                _write(folder / "memory.swap.max", 0)
        if spec.max_pids is not None:
            _write(folder / "pids.max", spec.max_pids + own_pids)
        if spec.cpu_cores is not None:
            _write(folder / "cpu.max", f"{int(spec.cpu_cores * CPU_PERIOD_US)} {CPU_PERIOD_US}")
        return Group((folder,), folder)

    def close(self) -> None:
        """Remove our own folder."""
        with contextlib.suppress(OSError):
            self._own.rmdir()


def open_cgroups(name: str, *, proc: Path = Path("/proc")) -> CgroupsV1 | CgroupsV2 | NoCgroups:
    """Return the adapter that works here; ``name`` tells our folder from another spawner's."""
    mounts = _cgroup_mounts(proc)
    paths = _own_paths(proc)
    try:
        if all(controller in mounts for controller in CgroupsV1.controllers):
            return CgroupsV1(
                {name: _below(mounts[name], paths.get(name, "/")) for name in mounts if name}, name
            )
        if "" in mounts:
            return CgroupsV2(_v2_root(mounts[""], paths.get("", "/")), name)
    except OSError as error:
        return NoCgroups(f"cgroups cannot be used ({error})")
    return NoCgroups("no cgroup hierarchy is mounted")


def oom_kills(memory: Path | None) -> int:
    """Return how often the kernel has killed for memory in this group so far (compare two readings)."""
    if memory is None:
        return 0
    for name in ("memory.oom_control", "memory.events"):
        count = _field(memory / name, "oom_kill")
        if count is not None:
            return count
    return 0


def memory_in_use(memory: Path | None) -> int | None:
    """Return the bytes a group cannot give back: anonymous, shared and swapped, not the page cache."""
    if memory is None:
        return None
    text = _read(memory / "memory.stat")
    if text is None:
        return None
    stat = {key: int(value) for key, value in (line.split() for line in text.splitlines())}
    if "anon" in stat:
        swapped = _read(memory / "memory.swap.current")
        return stat["anon"] + stat.get("shmem", 0) + int(swapped or 0)
    return stat.get("total_rss", 0) + stat.get("total_shmem", 0) + stat.get("total_swap", 0)


def _v2_root(mount: Path, path: str) -> Path:
    """Prefer the group we are in; the tree's root where ours holds processes (as it does: us)."""
    own = _below(mount, path)
    held = _read(own / "cgroup.procs")
    return mount if held and own != mount else own


def _below(mount: Path, path: str) -> Path:
    """Inside a container the path in /proc may name a folder that its mount does not show: then the mount."""
    folder = mount / path.lstrip("/")
    return folder if folder.is_dir() else mount


def _cgroup_mounts(proc: Path) -> dict[str, Path]:
    """Return the mount point of each v1 controller, and of v2 as the empty name."""
    mounts: dict[str, Path] = {}
    for line in (_read(proc / "self" / "mounts") or "").splitlines():
        _device, target, kind, options, *_rest = line.split()
        if kind == "cgroup2":
            mounts[""] = Path(target)
        elif kind == "cgroup":
            mounts.update(
                {name: Path(target) for name in options.split(",") if name in CgroupsV1.controllers}
            )
    return mounts


def _own_paths(proc: Path) -> dict[str, str]:
    paths: dict[str, str] = {}
    for line in (_read(proc / "self" / "cgroup") or "").splitlines():
        _number, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def _sweep(root: Path) -> None:
    """Remove what a killed spawner left; its folder carries its pid, groups in use refuse."""
    for own in root.glob(f"{_PREFIX}*"):
        if Path("/proc", own.name.rpartition("-")[2]).exists():
            continue
        for folder in (*own.glob("*/"), own):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _field(path: Path, name: str) -> int | None:
    for line in (_read(path) or "").splitlines():
        key, _space, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def _write(path: Path, value: object) -> None:
    # Not write_text: O_CREAT makes no sense on cgroupfs, and hides a missing file in a test tree.
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)
