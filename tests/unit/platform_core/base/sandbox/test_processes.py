"""Process trees as /proc shows them."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import IO, TYPE_CHECKING

from platform_core.base.sandbox import processes

if TYPE_CHECKING:
    import pytest


def tree() -> tuple[subprocess.Popen[str], IO[str]]:
    script = "sh -c 'sleep 60 & echo ready; wait' & wait"
    process = subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process, process.stdout


def test_descendants_come_parents_first() -> None:
    process, output = tree()
    found = processes.descendants(process.pid)
    assert len(found) == 2
    assert processes.descendants(found[0]) == found[1:]
    assert processes._children_by_scan()[process.pid] == found[:1]
    processes.kill_tree(process.pid)
    assert process.wait() == -signal.SIGKILL
    assert output.read() == ""  # ends only when the last holder of the pipe is gone
    output.close()


def test_signal_tree_counts_whom_it_reached() -> None:
    process, output = tree()
    assert processes.signal_tree(process.pid, signal.SIGKILL) == 2
    assert process.wait() == 0  # it was not signalled itself: its wait came to an end
    output.close()


def test_a_process_that_is_gone_is_no_error() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    processes.send(process.pid, signal.SIGTERM)
    assert processes.descendants(process.pid) == []


def test_our_own_children_are_found_without_the_children_file(monkeypatch: pytest.MonkeyPatch) -> None:
    process, output = tree()
    monkeypatch.setattr(processes, "_children", lambda pid: processes._children_by_scan().get(pid, []))
    assert len(processes.descendants(process.pid)) == 2
    assert process.pid in processes.descendants(os.getpid())
    monkeypatch.undo()
    processes.kill_tree(process.pid)
    process.wait()
    output.close()
