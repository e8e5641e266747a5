"""Acknowledged batches survive kill -9 at random moments and at every named point, exactly once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.crash_cycles import FAILPOINTS

DRIVER = Path(__file__).parent / "crash_cycles.py"
ROOT = Path(__file__).parents[2]


def run(home: Path, *arguments: str, limit_s: float) -> str:
    done = subprocess.run(
        [sys.executable, str(DRIVER), "--home", str(home), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    line = done.stdout.strip().rpartition("\n")[2]
    print(line)  # noqa: T201 - the figures are the result
    assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
    return line


def test_kills_at_every_failpoint_lose_and_double_nothing(in_memory: Path) -> None:
    """Each life recovers from the kill before it, so that the plan is a chain of random pairs as well."""
    line = run(
        in_memory / "home", "--kills", "1", "--failpoints", "--pairs", "1", "--seed", "11", limit_s=120
    )
    assert " 0 lost, 0 doubled, 0 halved" in line
    assert f"{1 + len(FAILPOINTS) + 2} kills" in line


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_at_every_pair_of_failpoints_lose_and_double_nothing(in_memory: Path) -> None:
    """The second point of a pair is met while the kill at the first one is recovered from."""
    line = run(in_memory / "home", "--kills", "0", "--pairs", "1000", "--seed", "12", limit_s=1700)
    assert " 0 lost, 0 doubled, 0 halved" in line
    assert f"{2 * len(FAILPOINTS) ** 2} kills" in line


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_hundred_random_kills_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    line = run(tmp_path / "home", "--kills", "100", "--failpoints", "--seed", str(seed), limit_s=580)
    assert " 0 lost, 0 doubled, 0 halved" in line
