"""A whole installation, started as a user would: `sluice up` in a temporary home on free ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from addon.cli.ports import suggest_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY_SECONDS, STOP_SECONDS = 90, 90
CLIENT_VARIABLES = ("TD_", "TREASURE_DATA_", "HEROKU_", "SLUICE_", "GIT_")


@dataclass
class Sluice:
    """One `sluice up`."""

    home: Path
    base: int
    process: subprocess.Popen[str] | None = None
    env: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it, wait for `ready`, and read env.sh with a real shell."""
        argv = [
            sys.executable,
            "-m",
            "addon.cli",
            "up",
            "--home",
            str(self.home),
            "--port-base",
            str(self.base),
        ]
        with (self.home.parent / "up.err").open("w") as errors:
            self.process = subprocess.Popen(
                argv,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env=self.clean_env(),
            )
        assert self.first_line() == "ready", self.errors()
        done = subprocess.run(
            ["sh", "-c", '. "$1" && env -0', "sh", str(self.home / "env.sh")],
            env=self.clean_env(),
            capture_output=True,
            text=True,
            check=True,
        )
        self.env = dict(pair.split("=", 1) for pair in done.stdout.split("\0") if pair)

    def first_line(self) -> str:
        """Return the first line of stdout, or what came until the time was up."""
        assert self.process is not None
        assert self.process.stdout is not None
        killer = threading.Timer(READY_SECONDS, self.process.kill)
        killer.start()
        line = self.process.stdout.readline()
        killer.cancel()
        return line.strip()

    def errors(self) -> str:
        """Return what it said on stderr."""
        return (self.home.parent / "up.err").read_text()

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Return its exit code once it has ended."""
        assert self.process is not None
        try:
            code = self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            if self.process.stdout:
                self.process.stdout.close()
        return code

    def program(self, marker: str) -> int:
        """Return the process id of the child whose command line holds ``marker``."""
        assert self.process is not None
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if parent == self.process.pid and marker in command:
                return int(entry.name)
        raise AssertionError(f"no child with {marker}")

    def platform(self) -> httpx.Client:
        """Return a client of the Platform API."""
        headers = {
            "Accept": "application/vnd.heroku+json; version=3",
            "Authorization": f"Bearer {self.env['SLUICE_PLATFORM_TOKEN']}",
        }
        return httpx.Client(base_url=self.env["SLUICE_PLATFORM_URL"], headers=headers, timeout=60)

    @staticmethod
    def clean_env() -> dict[str, str]:
        """Return the environment without anything that points a client somewhere."""
        return {name: value for name, value in os.environ.items() if not name.startswith(CLIENT_VARIABLES)}

    @staticmethod
    def until(what: str, seconds: float, attempt: Callable[[], bool]) -> None:
        """Try until it succeeds; fail, saying what did not happen, when the time is up."""
        deadline = time.monotonic() + seconds
        while not attempt():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def sluice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sluice]:
    """An installation that runs."""
    running = Sluice(tmp_path_factory.mktemp("e2e") / "home", suggest_base(23_000))
    running.start()
    yield running
    if running.process is not None and running.process.poll() is None:
        assert running.stop() == 0, running.errors()
