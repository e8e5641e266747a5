"""A bulk import killed at each step: its rows come once, all at once, or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.bulk_kills import POINTS

ROOT = Path(__file__).parents[2]


def _run(home: Path, *options: str) -> str:
    # A program of its own: it forks, which a process with threads must not.
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.bulk_kills", "--home", str(home), *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=1_500,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout.strip().rpartition("\n")[2]  # what the add-on logs may stand before it


def test_a_bulk_import_killed_at_the_steps_of_its_commit_is_whole(tmp_path: Path) -> None:
    points = [point for point in POINTS if "commit" in point or "publish" in point]
    line = _run(tmp_path, "--points", *points)
    assert (
        line == f"{len(points)} kills in {len(points)} bulk imports, 0 with rows lost, doubled or seen early"
    )


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_bulk_import_killed_at_any_step_is_whole(tmp_path: Path) -> None:
    assert _run(tmp_path).startswith(f"{len(POINTS)} kills in {len(POINTS)} bulk imports, 0 with ")


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_bulk_import_killed_at_any_two_steps_is_whole(tmp_path: Path) -> None:
    print(_run(tmp_path, "--pairs"))  # noqa: T201 - the figures are the result
