"""`sluice --help` answers at once: nothing heavy is imported before a command runs."""

from __future__ import annotations

import resource
import subprocess
import sys

HEAVY = {
    "pyarrow",
    "duckdb",
    "fastapi",
    "sqlalchemy",
    "rich",
    "httpx",
    "deltalake",
    "asyncio",
    "trustme",
    "structlog",
}


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, addon.cli.__main__; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


def test_help_takes_at_most_200_ms_at_best_of_five() -> None:
    """Counted in processor time: what other programs of the machine take is not ours to promise."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "addon.cli", "--help"], capture_output=True, text=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "demo" in done.stdout
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) <= 0.2


def test_an_unknown_command_is_a_usage_error() -> None:
    done = subprocess.run([sys.executable, "-m", "addon.cli", "nonsense"], capture_output=True, check=False)
    assert done.returncode == 2
