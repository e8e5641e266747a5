"""Unpack tar members that somebody else wrote, without letting one land outside the target folder.

The rules are those of PEP 706's ``data`` filter. They are written out here because Debian 12's Python 3.11.2
does not have that filter yet.
"""

from __future__ import annotations

import copy
import os
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# The member is checked by then; newer Pythons want to be told so.
_CHECKED: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
_MODE = 0o755
_OWNER_READ_WRITE = 0o600
_ANY_EXECUTE = 0o111


class UnsafeMemberError(tarfile.TarError):
    """A tar member would land outside of the target, or is a kind of file that is not unpacked."""


def extract_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, *, links_anywhere: bool = False
) -> None:
    """Unpack one member below ``target``: as ours, never set-uid, writable by its owner only.

    ``links_anywhere`` lets a symbolic link name any path. Where it leads matters to who follows it; that no
    later member is written through it is checked with that member.

    Raises:
        UnsafeMemberError: the member may not be unpacked.
    """
    archive.extract(_checked(member, target, links_anywhere=links_anywhere), target, **_CHECKED)


def _checked(member: tarfile.TarInfo, target: Path, *, links_anywhere: bool) -> tarfile.TarInfo:
    safe = copy.copy(member)
    safe.name = member.name.lstrip("/" + os.sep)
    root = os.path.realpath(target)
    _require_inside(root, safe.name, member.name)
    if member.issym() and not links_anywhere:
        folder = os.path.dirname(safe.name)  # noqa: PTH120 - an archive's name, not a path of this machine
        _require_inside(root, os.path.join(folder, member.linkname), member.name)  # noqa: PTH118 - likewise
    elif member.islnk():
        _require_inside(root, member.linkname, member.name)
    elif not (member.isreg() or member.isdir() or member.issym()):
        raise UnsafeMemberError(f"{member.name!r} is a device or a pipe")
    if member.isreg() or member.islnk():
        mode = member.mode & _MODE | _OWNER_READ_WRITE
        safe.mode = mode if member.mode & 0o100 else mode & ~_ANY_EXECUTE
    else:
        safe.mode = _MODE
    safe.uid, safe.gid, safe.uname, safe.gname = os.geteuid(), os.getegid(), "", ""
    return safe


def _require_inside(root: str, name: str, shown: str) -> None:
    landing = os.path.realpath(os.path.join(root, name))  # noqa: PTH118 - realpath resolves what is there
    if os.path.isabs(name) or os.path.commonpath([landing, root]) != root:  # noqa: PTH117 - likewise
        raise UnsafeMemberError(f"{shown!r} would land outside of the folder")
