"""The bubblewrap command line of a sandbox: which namespaces, which parts of the host's tree.

Everything goes through ``--args FD``: config vars on a command line would show up in every ``ps`` of the
host. Bubblewrap's own environment stays empty, so that an app's ``LD_PRELOAD`` cannot reach it outside.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from platform_core.base.sandbox.spec import Network, SandboxSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAM = "bwrap"
SHM_BYTES = 64 << 20
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_NAMESPACES = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--disable-userns",
    "--new-session",
    "--die-with-parent",
)


def passwd(uid: int) -> bytes:
    """Return the sandbox's passwd file: root and the process's own user."""
    return f"root:x:0:0:root:/root:/usr/sbin/nologin\nu{uid}:x:{uid}:{uid}::/tmp:/bin/sh\n".encode()


def group(gid: int) -> bytes:
    """Return the sandbox's group file."""
    return f"root:x:0:\nu{gid}:x:{gid}:\n".encode()


def options(
    spec: SandboxSpec,
    sources: Sequence[str],
    *,
    etc: str | None,
    status_fd: int,
    passwd_fd: int,
    group_fd: int,
) -> bytes:
    """Return the NUL-separated options for ``--args``.

    ``sources`` are the host paths of ``spec.binds``, in order, as the dropped uid can reach them; ``etc`` is
    the folder that `etc.build_etc` made.
    """
    words: list[str] = [*_NAMESPACES, "--cap-drop", "ALL", "--json-status-fd", str(status_fd)]
    if spec.network is Network.NONE:
        words.append("--unshare-net")
    words += ["--hostname", spec.hostname, "--clearenv"]
    for name, value in spec.env.items():
        words += ["--setenv", name, value]
    words += _base_tree()
    if etc is not None:
        words += ["--ro-bind", etc, "/etc"]
        if spec.network is Network.HOST:
            # Live, not the copy: the host's resolver may change while we run.
            words += ["--ro-bind-try", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf"]
    words += ["--ro-bind-data", str(passwd_fd), "/etc/passwd", "--ro-bind-data", str(group_fd), "/etc/group"]
    words += ["--proc", "/proc", "--dev", "/dev"]
    # bubblewrap's /dev is a tmpfs without a bound: shut it, and give /dev/shm one of its own.
    words += ["--size", str(SHM_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108  # inside
    words += ["--perms", "1777", "--size", str(spec.tmp_bytes), "--tmpfs", "/tmp"]  # noqa: S108  # inside
    for bind, source in zip(spec.binds, sources, strict=True):
        words += ["--bind" if bind.writable else "--ro-bind", source, bind.target]
    words += ["--remount-ro", "/", "--chdir", spec.cwd]
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def _base_tree() -> Iterator[str]:
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), name)
        elif path.is_dir():
            yield from ("--ro-bind", name, name)
