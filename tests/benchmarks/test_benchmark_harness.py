"""The benchmark harness itself, run on tiny benchmark directories."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figure, interleaved, timed

ROOT = Path(__file__).resolve().parents[2]

GOOD = """
from tests.benchmarks.figures import Figure
NAME = "good"
def figures():
    print("chatter")
    return [
        Figure.measured("good.rate", 700, "rows/s", bar=">= 6 x peer", peer="[bold]other", peer_value=100),
        Figure.measured("good.lag", 3, "s", bar="<= 2 s"),
    ]
"""
BAD = "NAME = 'bad'\ndef figures():\n    raise RuntimeError('the peer did not start')\n"


def bench(directory: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", "--dir", str(directory)]
    command += ["--out", str(directory / "build" / "bench.json"), *extra]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_a_bar_is_judged_from_the_measured_ratio() -> None:
    figure = Figure.measured("a", 600, "rows/s", bar=">= 6 x peer", peer="p", peer_value=100)
    assert (figure.ratio, figure.holds) == (6, True)
    assert not Figure.measured("a", 599, "rows/s", bar=">= 6 x peer", peer="p", peer_value=100).holds
    assert Figure.measured("a", 1.9, "s", bar="<= 2 s").holds
    assert not Figure.measured("a", 2.1, "s", bar="<= 2 s").holds


def test_a_relative_bar_without_its_peer_does_not_hold() -> None:
    figure = Figure.measured("a", 600, "rows/s", bar=">= 6 x peer", peer="not installed")
    assert (figure.ratio, figure.holds) == (None, False)


@pytest.mark.parametrize(
    ("value", "peer_value"), [(0, None), (float("inf"), None), (float("nan"), 1), (1, 0)]
)
def test_what_is_no_measurement_is_refused(value: float, peer_value: float | None) -> None:
    with pytest.raises(ValueError, match="no measurement"):
        Figure.measured("a", value, "rows/s", bar=">= 6 x peer", peer="p", peer_value=peer_value)


@pytest.mark.parametrize("bar", ["fast", ">= six x peer", "<= 2 ms", ""])
def test_an_unreadable_bar_is_refused(bar: str) -> None:
    with pytest.raises(ValueError, match="bar"):
        Figure.measured("a", 1, "s", bar=bar)


def test_variants_take_turns_and_the_median_is_kept() -> None:
    order: list[str] = []
    values = {"a": iter([1.0, 100.0, 2.0]), "b": iter([5.0, 6.0, 7.0])}

    def variant(name: str) -> float:
        order.append(name)
        return next(values[name])

    medians = interleaved({"a": lambda: variant("a"), "b": lambda: variant("b")}, 3)
    assert medians == {"a": 2.0, "b": 6.0}
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_timed_reads_the_clock_around_the_work() -> None:
    ticks = iter([10.0, 12.5])
    assert timed(lambda: None, clock=lambda: next(ticks))() == 2.5


def test_a_missed_bar_is_shown_and_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "bench_good.py").write_text(GOOD)
    done = bench(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cores" in done.stdout
    assert "[bold]other" in done.stdout
    assert "NO" in done.stdout
    assert "chatter" not in done.stdout
    rate, lag = json.loads((tmp_path / "build" / "bench.json").read_text())
    assert rate == {
        "name": "good.rate", "value": 700, "unit": "rows/s", "peer": "[bold]other", "peer_value": 100,
        "ratio": 7, "bar": ">= 6 x peer", "holds": True,
    }  # fmt: skip
    assert lag["holds"] is False


def test_a_crash_is_reported_and_the_others_still_are(tmp_path: Path) -> None:
    (tmp_path / "bench_bad.py").write_text(BAD)
    (tmp_path / "bench_good.py").write_text(GOOD)
    done = bench(tmp_path)
    assert done.returncode == 1
    assert "crashed" in done.stdout
    assert "the peer did not start" in done.stderr
    assert len(json.loads((tmp_path / "build" / "bench.json").read_text())) == 2


def test_only_runs_one_part_and_names_the_others_on_a_typo(tmp_path: Path) -> None:
    (tmp_path / "bench_bad.py").write_text(BAD)
    (tmp_path / "bench_good.py").write_text(GOOD)
    assert bench(tmp_path, "--only", "good").returncode == 0
    wrong = bench(tmp_path, "--only", "god")
    assert wrong.returncode == 1
    assert "bad, good" in wrong.stderr


def test_two_figures_of_one_name_fail_the_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"bench_{name}.py").write_text(GOOD)
    done = bench(tmp_path)
    assert done.returncode == 1
    assert "two figures have one name: good.lag, good.rate" in done.stderr
