"""`sluice demo` itself, in full: it compares exactly, reports, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from addon.cli.ports import Ports, suggest_base

pytestmark = [pytest.mark.slow, pytest.mark.serial, pytest.mark.timeout(900)]


def argv(base: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "addon.cli", "demo", "--port-base", str(base), *more]


def test_the_demo_finds_every_event_again_and_stops_what_it_started(tmp_path: Path) -> None:
    base = suggest_base(24_000)
    done = subprocess.run(
        argv(base, "--home", str(tmp_path / "home")), capture_output=True, text=True, check=False, timeout=380
    )
    assert done.returncode == 0, done.stderr
    assert "6,919 purchases" in done.stderr
    assert "none lost, none doubled" in done.stderr
    assert re.search(r"p99 \d+\.\d\d s over [\d,]+ rows", done.stderr)
    report = Path(done.stdout.rstrip().rpartition("Report with charts: ")[2])
    assert report.read_text().startswith("<!")
    for title in ("Conversion paths", "Attribution", "Ranking", "Customer segments", "Retention"):
        assert title in done.stdout
    assert Ports(base).taken() == {}


def test_the_demo_stopped_in_the_middle_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    base, env = suggest_base(24_100), os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv(base), stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "start web and worker" in line:
                break
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert Ports(base).taken() == {}
    assert not [entry for entry in Path("/proc").iterdir() if mentions(entry, tmp_path)]
    assert list(tmp_path.iterdir()) == []


def mentions(entry: Path, folder: Path) -> bool:
    """Tell whether a process's command line names the folder."""
    try:
        return entry.name.isdigit() and os.fsencode(folder) in (entry / "cmdline").read_bytes()
    except OSError:
        return False
