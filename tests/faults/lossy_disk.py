"""A disk that keeps what was synced and, of the rest, whatever a power cut leaves: any part, in any order.

``LossyDisk`` replays calls (``op_trace``) on a model of the file system. For a file, what the last sync
covered is sure; each later write may be there, not there, or there in some of its pages, and its length may
have grown without its bytes. For a folder, what its last sync covered is sure; each later creation, link,
rename or deletion may have happened or not, whatever happened to the others; a rename is never halved. This
is all that POSIX promises, and less than any one file system does.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable
    from pathlib import Path

    from tests.faults.op_trace import Call

_PAGE = 4096
_NUMBERS = re.compile(r"-?\d+")


@dataclass(eq=False)
class File:
    """Bytes that are sure, the changes since, and the bytes that the program sees."""

    sure: bytearray = field(default_factory=bytearray)
    seen: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    """(call, offset, data), or (call, length, None) for a cut."""

    def change(self, call: int, at: int, data: bytes | None) -> None:
        """Note a change and show it to the program."""
        self.pending.append((call, at, data))
        _apply(self.seen, at, data)

    def sync(self, before: int) -> None:
        """Make sure of what was done before call number ``before``."""
        for number, at, data in self.pending:
            if number < before:
                _apply(self.sure, at, data)
        self.pending = [one for one in self.pending if one[0] >= before]

    def after_cut(self, rng: random.Random, keep: float) -> bytes:
        """Return what a power cut leaves."""
        left = bytearray(self.sure)
        for _, at, data in self.pending:
            if data is None or keep in {0, 1}:
                if rng.random() < keep:
                    _apply(left, at, data)
                continue
            for start in range(0, len(data), _PAGE):
                piece = data[start : start + _PAGE]
                if rng.random() < keep:
                    _apply(left, at + start, piece)
                elif rng.random() < keep / 2:  # the length grew, the bytes did not come
                    left.extend(bytes(max(0, at + start + len(piece) - len(left))))
        return bytes(left)


@dataclass(eq=False)
class Folder:
    """Entries that are sure, the changes since, and the entries that the program sees."""

    sure: dict[str, File | Folder] = field(default_factory=dict)
    seen: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[tuple[int, str, File | Folder | None]] = field(default_factory=list)
    """(call, name, what it names now, or None when it is gone)."""

    def change(self, call: int, name: str, node: File | Folder | None) -> None:
        """Note a change and show it to the program."""
        self.pending.append((call, name, node))
        _name(self.seen, name, node)

    def sync(self, before: int) -> None:
        """Make sure of what was done before call number ``before``."""
        for number, name, node in self.pending:
            if number < before:
                _name(self.sure, name, node)
        self.pending = [one for one in self.pending if one[0] >= before]


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        if len(content) > at:
            del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


def _name(entries: dict[str, File | Folder], name: str, node: File | Folder | None) -> None:
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def _loaded(path: Path) -> Folder:
    folder = Folder()
    for child in path.iterdir():
        node: File | Folder = _loaded(child) if child.is_dir() else File()
        if isinstance(node, File):
            node.sure, node.seen = bytearray(child.read_bytes()), bytearray(child.read_bytes())
        folder.sure[child.name] = folder.seen[child.name] = node
    return folder


@dataclass
class _Open:
    node: File
    offset: int | None
    """None appends."""


class LossyDisk:
    """The files below ``root`` as they were when this was made (all of it sure), and what came after."""

    def __init__(self, root: Path) -> None:
        """Take the tree as it is on the real disk."""
        self.root = root
        self._top = _loaded(root)
        self._opened: dict[int, _Open] = {}

    def concerns(self, call: Call) -> bool:
        """Tell whether a call is about a file below the root (or a descriptor or a path that may be)."""
        prefix = f"{self.root}/"
        paths = [text.decode(errors="replace") for text in call.texts[:2] if len(text) < _PAGE]
        return any(f"{path}/".startswith(prefix) for path in (call.path, *paths))

    def replay(self, calls: Iterable[tuple[int, Call]]) -> None:
        """Do what the calls did; each comes with its number."""
        for number, call in calls:
            method = getattr(self, f"_do_{_SAME.get(call.name, call.name)}", None)
            assert method is not None, f"unknown call {call.name}"
            method(number, call)

    def leave(self, target: Path, rng: random.Random, keep: float) -> None:
        """Write to ``target`` what a power cut leaves; each unsure change stays with probability ``keep``."""
        kept: dict[int, bool] = {}  # by call, so that a rename is never halved
        self._write_folder(self._top, target, rng, keep, kept)

    def _write_folder(
        self, folder: Folder, target: Path, rng: random.Random, keep: float, kept: dict[int, bool]
    ) -> None:
        entries = dict(folder.sure)
        for number, name, node in folder.pending:
            if kept.setdefault(number, rng.random() < keep):
                _name(entries, name, node)
        target.mkdir(exist_ok=True)
        for name, node in entries.items():
            if isinstance(node, Folder):
                self._write_folder(node, target / name, rng, keep, kept)
            else:
                (target / name).write_bytes(node.after_cut(rng, keep))

    # Names
    # -----------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> tuple[Folder, str] | None:
        """Return the folder and the name in it; None for what is not below the root."""
        relative = os.path.relpath(path, self.root)
        if relative.startswith("..") or relative == ".":
            return None
        folder = self._top
        *parents, name = relative.split("/")
        for parent in parents:
            below = folder.seen.get(parent)
            if not isinstance(below, Folder):
                return None
            folder = below
        return folder, name

    def _node(self, path: str) -> File | Folder | None:
        if path == str(self.root):
            return self._top
        place = self._place(path)
        return None if place is None else place[0].seen.get(place[1])

    # Calls
    # ------------------------------------------------------------------------------------------------------

    def _do_open(self, number: int, call: Call) -> None:
        assert call.descriptor is not None
        place = self._place(call.path)
        if place is None:
            self._opened.pop(call.descriptor, None)
            return
        folder, name = place
        node = folder.seen.get(name)
        if node is None and "O_CREAT" in call.arguments:
            node = File()
            folder.change(number, name, node)
        if not isinstance(node, File):
            self._opened.pop(call.descriptor, None)
            return
        if "O_TRUNC" in call.arguments and node.seen:
            node.change(number, 0, None)
        self._opened[call.descriptor] = _Open(node, None if "O_APPEND" in call.arguments else 0)

    def _file(self, call: Call) -> _Open | None:
        assert call.descriptor is not None
        node = self._node(call.path)
        opened = self._opened.get(call.descriptor)
        if opened is not None and (opened.node is node or call.path.endswith("(deleted)")):
            return opened
        return _Open(node, None) if isinstance(node, File) else None

    def _do_write(self, number: int, call: Call) -> None:
        opened = self._file(call)
        if opened is None:
            return
        data = b"".join(call.texts)[: call.result]
        at = len(opened.node.seen) if opened.offset is None else opened.offset
        opened.node.change(number, at, data)
        if opened.offset is not None:
            opened.offset += len(data)

    def _do_pwrite64(self, number: int, call: Call) -> None:
        opened = self._file(call)
        if opened is not None:
            at = int(_NUMBERS.findall(call.arguments)[-1])
            opened.node.change(number, at, b"".join(call.texts)[: call.result])

    def _do_lseek(self, _number: int, call: Call) -> None:
        opened = self._file(call)
        if opened is not None and opened.offset is not None:
            opened.offset = call.result

    def _do_ftruncate(self, number: int, call: Call) -> None:
        opened = self._file(call)
        if opened is not None:
            opened.node.change(number, int(_NUMBERS.findall(call.arguments)[-1]), None)

    def _do_fsync(self, _number: int, call: Call) -> None:
        node = self._node(call.path)
        if node is None and call.descriptor in self._opened:
            node = self._opened[call.descriptor].node
        if node is not None:
            node.sync(call.began)

    def _do_rename(self, number: int, call: Call) -> None:
        old, new = (self._place(text.decode()) for text in call.texts)
        assert old is not None, call
        assert new is not None, call
        node = old[0].seen[old[1]]
        old[0].change(number, old[1], None)
        new[0].change(number, new[1], node)

    def _do_link(self, number: int, call: Call) -> None:
        old, new = (self._place(text.decode()) for text in call.texts)
        assert old is not None, call
        assert new is not None, call
        new[0].change(number, new[1], old[0].seen[old[1]])

    def _do_unlink(self, number: int, call: Call) -> None:
        path = call.texts[0].decode()
        place = self._place(path if path.startswith("/") else f"{call.path}/{path}")
        if place is not None:
            place[0].change(number, place[1], None)

    def _do_mkdir(self, number: int, call: Call) -> None:
        place = self._place(call.texts[0].decode())
        if place is not None:
            place[0].change(number, place[1], Folder())


_SAME = {
    "openat": "open",
    "creat": "open",
    "writev": "write",
    "pwritev": "pwrite64",
    "fdatasync": "fsync",
    "renameat": "rename",
    "renameat2": "rename",
    "linkat": "link",
    "unlinkat": "unlink",
    "rmdir": "unlink",
    "mkdirat": "mkdir",
}
