"""The few Linux calls that Python 3.11 does not wrap: mount, unshare, setns, prctl.

Used by the spawner only, which has one thread; none of this is safe in a threaded program.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NS_GET_USERNS = 0xB701

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, doing: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Attach ``source`` (a folder, a file, a file system) at ``target``.

    Raises:
        OSError: with the kernel's errno and both paths.
    """
    arguments = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    extra = None if data is None else data.encode()
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), extra), f"mount {source} on {target}")


def unmount(target: str) -> None:
    """Detach the mount at ``target`` now; what still uses it keeps it alive."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def unshare(flags: int) -> None:
    """Leave the namespaces in ``flags`` for new ones."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace that ``descriptor`` (an open ``/proc/PID/ns/…``) refers to."""
    _check(_libc.setns(descriptor, kind), "setns")


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that it can reap and count them."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel for ``signal_number`` when the parent thread ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def owning_user_namespace(descriptor: int) -> int:
    """Return an open descriptor of the user namespace that owns namespace ``descriptor``."""
    return fcntl.ioctl(descriptor, NS_GET_USERNS)


@contextlib.contextmanager
def inside_network(descriptor: int) -> Iterator[None]:
    """Stay in another network namespace for the block: a socket made there belongs to it for ever."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
