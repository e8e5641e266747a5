"""Turns a spec into a launch, one class per way of isolating: bubblewrap, or a plain process.

A driver runs inside the spawner. It holds what must be given back when the process has ended (staged
binds), and knows which pids are the payload and which the sandbox's own.
"""

from __future__ import annotations

import os
import resource
import shutil
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from platform_core.base.sandbox import bubblewrap
from platform_core.base.sandbox.launch import Launch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from platform_core.base.sandbox.cgroups import Group
    from platform_core.base.sandbox.spec import SandboxSpec
    from platform_core.base.sandbox.staging import Key, Staging

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(slots=True)
class Prepared:
    """A launch and what it holds until its end."""

    launch: Launch
    staged: list[Key] = field(default_factory=list)
    temporary: list[int] = field(default_factory=list)
    """Descriptors of ours, to be closed after the fork."""


class Driver(Protocol):
    """One way of isolating a process."""

    wraps: bool
    """Whether the started process is a wrapper that reports its child's pid on the status pipe."""
    own_pids: int
    """How many processes of its own it adds to the payload's."""

    def prepare(self, spec: SandboxSpec, group: Group, descriptors: Sequence[int], status: int) -> Prepared:
        """Work out how to start ``spec``.

        Raises:
            OSError: a bind's source is missing.
        """

    def release(self, prepared: Prepared) -> None:
        """Give back what the process held."""


class BubblewrapDriver:
    """Own user, pid, mount, ipc, uts and network namespaces; as root also an own uid."""

    wraps = True
    own_pids = 2  # the outer bubblewrap and the namespace's init

    def __init__(self, staging: Staging | None, etc: Path) -> None:
        """Use ``staging`` (root only) to reach bind sources; without it their own paths are used.

        ``etc`` is the folder shown as ``/etc``.
        """
        self._staging = staging
        self._etc = str(etc)
        self._program = shutil.which(bubblewrap.PROGRAM, path=_PATH) or bubblewrap.PROGRAM

    def prepare(self, spec: SandboxSpec, group: Group, descriptors: Sequence[int], status: int) -> Prepared:
        """Work out the bubblewrap command."""
        root = self._staging is not None
        uid = spec.uid if root else os.getuid()
        staged: list[Key] = []
        try:
            sources = [self._source(str(bind.source), staged) for bind in spec.binds]
            place = len(descriptors)
            data = [_memfd(bubblewrap.passwd(uid)), _memfd(bubblewrap.group(uid if root else os.getgid()))]
        except BaseException:
            self._give_back(staged)
            raise
        words = bubblewrap.options(
            spec, sources, etc=self._etc, status_fd=place, passwd_fd=place + 1, group_fd=place + 2
        )
        data.append(_memfd(words))
        launch = Launch(
            argv=[self._program, "--args", str(place + 3), "--", *spec.argv],
            env={"PATH": _PATH},
            cwd="/",
            join=group.join_paths(),
            uid=spec.uid if root else None,
            descriptors=[*descriptors, status, *data],
            limits=_rlimits(spec, group, own_uid=root),
        )
        return Prepared(launch, staged, data)

    def release(self, prepared: Prepared) -> None:
        """Unmount what was staged for this process alone."""
        self._give_back(prepared.staged)

    def _source(self, source: str, staged: list[Key]) -> str:
        if self._staging is None:
            os.stat(source)  # noqa: PTH116  # for its error, which names the path
            return source
        key, path = self._staging.acquire(source)
        staged.append(key)
        return path

    def _give_back(self, staged: list[Key]) -> None:
        if self._staging is not None:
            for key in staged:
                self._staging.release(key)
        staged.clear()


class ProcessDriver:
    """A plain process in a session of its own: no view of its own, no network of its own.

    Binds cannot be honoured: a working folder below a bind's target is translated to its source, and the
    caller must use real paths otherwise (`Isolation.own_files` tells it).
    """

    wraps = False
    own_pids = 0

    def __init__(self, *, drop_uid: bool) -> None:
        """Drop to the spec's uid when we are root."""
        self._drop_uid = drop_uid

    def prepare(self, spec: SandboxSpec, group: Group, descriptors: Sequence[int], status: int) -> Prepared:  # noqa: ARG002  # the port's signature
        """Work out the plain command."""
        for bind in spec.binds:
            os.stat(bind.source)  # noqa: PTH116  # for its error, which names the path
        launch = Launch(
            argv=list(spec.argv),
            env=spec.env,
            cwd=_real_folder(spec),
            join=group.join_paths(),
            uid=spec.uid if self._drop_uid else None,
            descriptors=list(descriptors),
            limits=_rlimits(spec, group, own_uid=self._drop_uid),
        )
        return Prepared(launch)

    def release(self, prepared: Prepared) -> None:
        """Nothing is held."""


def _real_folder(spec: SandboxSpec) -> str:
    cwd = PurePosixPath(spec.cwd)
    for bind in spec.binds:
        if cwd.is_relative_to(bind.target):
            return str(bind.source / cwd.relative_to(bind.target))
    return spec.cwd


def _rlimits(spec: SandboxSpec, group: Group, *, own_uid: bool) -> list[tuple[int, int]]:
    """Stand in for a missing cgroup as far as rlimits can."""
    if group.folders:
        return []
    limits: list[tuple[int, int]] = []
    if spec.memory_bytes is not None:
        # RLIMIT_DATA, not RLIMIT_AS: runtimes reserve far more address space than they use.
        limits.append((resource.RLIMIT_DATA, spec.memory_bytes))
    if spec.max_pids is not None and own_uid:
        # Counted per uid: of use only where the uid is the sandbox's own.
        limits.append((resource.RLIMIT_NPROC, spec.max_pids))
    return limits


def _memfd(content: bytes) -> int:
    descriptor = os.memfd_create("sluice", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
