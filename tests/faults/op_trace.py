"""What a program did to its files, from strace: each call that changes a file, a folder, or makes it durable.

``command`` runs a program under strace; ``read`` gives its calls in the order in which they ended. Strings
are traced whole and in hexadecimal, so that nothing in them can look like syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_CALLS = (
    "open,openat,creat,write,writev,pwrite64,pwritev,lseek,truncate,ftruncate,fallocate,rename,renameat,"
    "renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,copy_file_range,sendfile"
)
_LINE = re.compile(r"^(\d+) +(.*)$")
_DONE = re.compile(r"^(\w+)\((.*)\) += (-?\d+|\?|0x[0-9a-f]+)(?:<([^>]*)>)?")
_RESUMED = re.compile(r"^<\.\.\. \w+ resumed>(.*)$")
_UNFINISHED = " <unfinished ...>"
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"(\d+)<((?:[^>\\]|\\.)*)>")


@dataclass(frozen=True, slots=True)
class Call:
    """A call that succeeded. ``began`` is how many calls had ended when it began."""

    name: str
    began: int
    texts: Sequence[bytes]
    """Paths or data, in their order."""
    descriptor: int | None
    path: str
    """What the descriptor stood for; empty without one."""
    arguments: str
    result: int


def command(trace: Path, program: Sequence[str]) -> list[str]:
    """Return the command line that runs ``program`` and writes its calls to ``trace``."""
    return [
        *("strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", str(1 << 26), "-e", f"trace={_CALLS}"),
        *("-e", "signal=none", "-o", str(trace), *program),
    ]


def read(trace: Path) -> Iterator[Call]:
    """Yield the successful calls of a trace; one that never returned is left out, as it may not count."""
    begun: dict[str, tuple[str, int]] = {}
    ended = 0
    with trace.open() as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                continue
            thread, text = match[1], match[2]
            if text.endswith(_UNFINISHED):
                begun[thread] = (text[: -len(_UNFINISHED)], ended)
                continue
            rest, began = _RESUMED.match(text), ended
            if rest is not None:
                head, began = begun.pop(thread, ("", ended))
                text = head + rest[1]
            call = _call(text, began)
            if call is not None:
                ended += 1
                yield call


def _call(text: str, began: int) -> Call | None:
    match = _DONE.match(text)
    if match is None or match[3] == "?" or match[3].startswith("-"):
        return None
    name, arguments = match[1], match[2]
    result = int(match[3], 0)
    texts = [bytes.fromhex(found.replace("\\x", "")) for found in _TEXT.findall(arguments)]
    bare = _TEXT.sub("", arguments)
    found = _DESCRIPTOR.search(bare)
    descriptor = int(found[1]) if found else None
    path = _plain(found[2]) if found else ""
    if name in {"open", "openat", "creat"}:
        descriptor, path = result, _plain(match[4] or "")
    return Call(name, began, texts, descriptor, path, bare, result)


def _plain(path: str) -> str:
    """Return a descriptor's path, which strace quotes as it does every string."""
    if "\\x" not in path:
        return path
    return bytes.fromhex(path.replace("\\x", "")).decode()
