"""The sandbox's ``/etc``: the few parts of the host's that programs need, copied at the spawner's start.

One bind of a copied folder instead of twenty binds of files: they cost a third of a sandbox's start.
"""

from __future__ import annotations

import shutil
from pathlib import Path

_WANTED = (
    "alternatives",
    "ca-certificates.conf",
    "crypto-policies",
    "gai.conf",
    "host.conf",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
"""What it takes to resolve names, check certificates and load libraries: never ``shadow``, private keys, or
the host's own passwd and group."""
_RUNTIMES = "java*"
"""Debian's Java keeps its configuration, time zones and certificates in ``/etc/java-17-openjdk``."""
MOUNT_POINTS = ("passwd", "group", "resolv.conf")
"""Files that each sandbox covers with its own."""


def build_etc(target: Path, source: Path = Path("/etc")) -> None:
    """Copy the wanted parts of ``source``, as far as they are there, into the new folder ``target``."""
    target.mkdir(mode=0o755)
    runtimes = (path.name for path in sorted(source.glob(_RUNTIMES)) if path.is_dir())
    for name in (*_WANTED, *runtimes):
        _copy(source / name, target / name)
    for name in MOUNT_POINTS:
        (target / name).touch()


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if source.is_dir():
            # Links inside stay links: they lead into /usr or to each other, and both are shown.
            shutil.copytree(source, target, symlinks=True, copy_function=_copy_readable)
        elif source.exists():
            _copy_readable(str(source), str(target))
    except (OSError, shutil.Error):
        # A part that we may not read is a part that the sandbox's uid may not read either.
        return


def _copy_readable(source: str, target: str, *, follow_symlinks: bool = True) -> str:
    """Copy a file that everybody may read; anything else stays behind."""
    path = Path(source)
    if not path.is_symlink() and not path.stat().st_mode & 0o004:
        return target
    shutil.copy(source, target, follow_symlinks=follow_symlinks)
    return target
