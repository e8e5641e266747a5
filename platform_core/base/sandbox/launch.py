"""The forked child's way from the spawner to the program: groups, uid, descriptors, exec.

Runs between fork and exec in a process with one thread. The order matters: join the groups and drop the
groups and ids while still root, only then exec; bubblewrap started as root would map the payload to host
uid 0 on bind mounts.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from platform_core.base.sandbox import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HIGH = 256
"""Descriptors are first moved above this, so that putting them in place never overwrites one still needed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything the child needs, worked out before the fork."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    join: Sequence[bytes]
    """cgroup.procs files."""
    uid: int | None
    """Drop to this uid and gid; None keeps ours (we are not root)."""
    descriptors: Sequence[int]
    """Become 0, 1, 2, 3, … in this order."""
    limits: Sequence[tuple[int, int]] = ()
    """(resource, value) pairs for setrlimit, where there is no cgroup to do it."""


def fork_and_exec(launch: Launch, report_to: int) -> int:
    """Start the child and return its pid; it writes a reason to ``report_to`` if it cannot exec."""
    pid = os.fork()
    if pid == 0:
        _child(launch, report_to)
    return pid


def _child(launch: Launch, report_to: int) -> NoReturn:
    try:
        report_to = fcntl.fcntl(report_to, fcntl.F_DUPFD_CLOEXEC, _HIGH)
        _exec(launch)
    except BaseException as error:  # noqa: BLE001  # nothing may return from here into the spawner's loop
        os.write(report_to, f"error {error}\n".encode(errors="replace"))
    os._exit(127)


def _exec(launch: Launch) -> NoReturn:
    _place(launch.descriptors)
    for path in launch.join:
        _join(path)
    for kind, value in ((resource.RLIMIT_CORE, 0), *launch.limits):
        resource.setrlimit(kind, (value, value))
    if launch.uid is not None:
        os.setgroups([])
        os.setresgid(launch.uid, launch.uid, launch.uid)
        os.setresuid(launch.uid, launch.uid, launch.uid)
    os.setsid()
    kernel.die_with_parent(signal.SIGKILL)
    _default_signals()
    os.umask(0o022)
    os.chdir(launch.cwd)
    os.execvpe(launch.argv[0], list(launch.argv), dict(launch.env))  # noqa: S606  # argv list, no shell


def _place(descriptors: Sequence[int]) -> None:
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH) for descriptor in descriptors]
    for place, descriptor in enumerate(moved):
        os.dup2(descriptor, place, inheritable=True)


def _join(path: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.write(descriptor, b"0")
    os.close(descriptor)


def _default_signals() -> None:
    """Undo what Python sets: an ignored SIGPIPE would be inherited through exec."""
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGCHLD,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
