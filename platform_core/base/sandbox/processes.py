"""Process trees as /proc shows them: who descends from whom, and ending them in the right order."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import defaultdict
from pathlib import Path

_ROUNDS = 5
"""How often a tree is read again to catch children forked while signals went out."""


def descendants(root: int) -> list[int]:
    """Return the pids below ``root``, parents before children, without ``root`` itself."""
    found: list[int] = []
    frontier = [root]
    while frontier:
        frontier = [child for parent in frontier for child in _children(parent)]
        found.extend(frontier)
    return found


def signal_tree(root: int, number: int) -> int:
    """Send a signal to everything below ``root``, deepest first, each process once; return to how many."""
    done: set[int] = set()
    for _ in range(_ROUNDS):
        fresh = [pid for pid in reversed(descendants(root)) if pid not in done]
        if not fresh:
            break
        for pid in fresh:
            send(pid, number)
        done.update(fresh)
    return len(done)


def kill_tree(root: int) -> None:
    """SIGKILL ``root`` and everything below it, parents first.

    Parents first, or one that waits for its children could still end in an orderly way, or start new ones.
    What is orphaned by that comes to the subreaper.
    """
    for pid in (root, *descendants(root)):
        send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    """Send a signal; a process that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _children(parent: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{parent}/task"):  # noqa: PTH208  # hot path: names only
            text = Path(f"/proc/{parent}/task/{task}/children").read_text(encoding="ascii")
            found.extend(map(int, text.split()))
    except FileNotFoundError:
        # Either the process is gone or the kernel has no such file: only then is a full scan worth it.
        return _children_by_scan().get(parent, []) if _exists(parent) else []
    except ProcessLookupError:
        return []
    return found


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}/task").is_dir() and not Path("/proc/thread-self/children").exists()


def _children_by_scan() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                # The command in parentheses may hold anything: fields are counted from the last one.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                tree[int(fields[1])].append(int(entry.name))
    return tree
