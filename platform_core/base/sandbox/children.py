"""The spawner's children: starting, watching, signalling, reaping, and giving back what each held."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from platform_core.base.sandbox import processes
from platform_core.base.sandbox.cgroups import Cgroups, Group, oom_kills
from platform_core.base.sandbox.launch import fork_and_exec
from platform_core.base.sandbox.spec import Network, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from platform_core.base.sandbox.drivers import Driver, Prepared

_FAREWELL_S = 2.0
"""How long the end of the spawner waits for groups to empty; freeing much memory takes the kernel time."""


@dataclass(slots=True)
class Child:
    """One sandboxed process as the spawner knows it."""

    pid: int
    group: Group
    driver: Driver
    prepared: Prepared
    own_network: bool
    kills_at_start: int
    status: int | None
    """The status pipe's read end; open to the end, for bubblewrap dies of SIGPIPE otherwise."""
    watched: bool = True
    """Whether the spawner still waits for the status pipe to tell of the start."""
    inner: int | None = None
    """The pid of the namespace's init, where there is one."""
    network: int | None = None
    """An open descriptor of its network namespace."""
    request: int | None = None
    """The spawn request that still waits for its answer."""
    ready: bool = False
    early_signals: list[int] = field(default_factory=list)
    """Signals that came before the program did."""
    error: str = ""
    text: bytes = b""

    def read_status(self) -> bool:
        """Take in what the status pipe has; True when the start has succeeded or failed."""
        assert self.status is not None  # noqa: S101  # callers check
        try:
            chunk = os.read(self.status, 65536)
        except BlockingIOError:
            return False
        self.text += chunk
        if self.text.startswith(b"error ") and (not chunk or b"\n" in self.text):
            self.error = self.text.removeprefix(b"error ").decode(errors="replace").strip()
            return True
        if not self.driver.wraps:
            self.ready = not chunk  # exec closed the pipe
            return self.ready
        if b"\n" in self.text:
            self._wrapped(json.loads(self.text.partition(b"\n")[0])["child-pid"])
            return True
        return not chunk

    def _wrapped(self, inner: int) -> None:
        self.inner = inner
        if self.own_network:
            # Gone already when the payload was that short; then nobody can want a socket of it.
            with contextlib.suppress(OSError):
                self.network = os.open(f"/proc/{inner}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.ready = True


class Children:
    """All running children, and the groups of ended ones that the kernel still holds."""

    def __init__(self, cgroups: Cgroups) -> None:
        """Make groups through ``cgroups``."""
        self._cgroups = cgroups
        self._running: dict[int, Child] = {}
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._serial = 0
        self._unclean: list[Group] = []

    def get(self, pid: int) -> Child | None:
        """Return a running child."""
        return self._running.get(pid)

    def start(self, driver: Driver, spec: SandboxSpec, std: Sequence[bool], given: Sequence[int]) -> Child:
        """Fork a child for ``spec``; ``given`` are the descriptors for the streams in ``std``, then the rest.

        Raises:
            OSError: a bind's source is missing, or the kernel refuses a fork or a group.
        """
        rest = list(given)
        streams = [rest.pop(0) if there else self._null for there in std]
        self._serial += 1
        group = self._cgroups.create(str(self._serial), spec, driver.own_pids)
        try:
            return self._start(driver, spec, group, [*streams, *rest])
        except BaseException:
            group.remove()
            raise

    def _start(self, driver: Driver, spec: SandboxSpec, group: Group, descriptors: list[int]) -> Child:
        status, status_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(status, False)
        try:
            prepared = driver.prepare(spec, group, descriptors, status_end)
            try:
                pid = fork_and_exec(prepared.launch, status_end)
            finally:
                for descriptor in prepared.temporary:
                    os.close(descriptor)
        except BaseException:
            os.close(status)
            raise
        finally:
            os.close(status_end)
        own_network = driver.wraps and spec.network is Network.NONE
        child = Child(pid, group, driver, prepared, own_network, oom_kills(group.memory), status)
        self._running[pid] = child
        return child

    def signal(self, pid: int, number: int) -> None:
        """Signal every process of the payload, not the sandbox's own."""
        child = self._running.get(pid)
        if child is None:
            return
        if not child.driver.wraps:
            processes.signal_tree(pid, number)
            processes.send(pid, number)
        elif child.inner is None or not processes.signal_tree(child.inner, number):
            # The sandbox stands but its program is not there yet: a signal now must not be lost.
            child.early_signals.append(number)

    def kill(self, pid: int) -> None:
        """End everything of a child at once."""
        child = self._running.get(pid)
        if child is None:
            return
        if child.inner is not None:
            # The namespace's init: the kernel takes everything else with it, and the outer bubblewrap tells.
            # (The outer one first would orphan the inner one for a while.)
            processes.send(child.inner, signal.SIGKILL)
        else:
            processes.kill_tree(pid)
        for member in child.group.pids():
            processes.send(member, signal.SIGKILL)

    def reap(self) -> list[tuple[Child, int, bool]]:
        """Collect what ended: (child, exit code, killed for memory); orphans are reaped silently."""
        ended: list[tuple[Child, int, bool]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            child = self._running.pop(pid, None)
            if child is not None:
                ended.append((child, _exit_code(status), self._finish(child)))
        return ended

    def _finish(self, child: Child) -> bool:
        for member in child.group.pids():
            processes.send(member, signal.SIGKILL)
        oom = oom_kills(child.group.memory) > child.kills_at_start
        child.driver.release(child.prepared)
        if child.network is not None:
            os.close(child.network)
            child.network = None
        if not child.group.remove():
            self._unclean.append(child.group)
        return oom

    @property
    def unfinished(self) -> bool:
        """Whether `finish` has something to try again soon."""
        return bool(self._unclean) or any(child.early_signals for child in self._running.values())

    def finish(self) -> None:
        """Try again to remove groups that were still held, and to signal programs that were not there yet."""
        self._unclean = [group for group in self._unclean if not group.remove()]
        for child in self._running.values():
            early, child.early_signals = child.early_signals, []
            for number in early:
                self.signal(child.pid, number)

    def kill_all(self) -> None:
        """End everything and wait until it is gone."""
        for pid in list(self._running):
            self.kill(pid)
        deadline = time.monotonic() + _FAREWELL_S
        while (self._running or self._unclean) and time.monotonic() < deadline:
            self.reap()
            self.finish()
            time.sleep(0.005)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
