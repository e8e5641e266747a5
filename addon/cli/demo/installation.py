"""Runs ``sluice up`` for the demo, as somebody in a second terminal would."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from addon.cli.failures import Failure
from addon.cli.home import Home
from addon.cli.recipe import from_shell
from addon.cli.tether import tethered

if TYPE_CHECKING:
    from pathlib import Path

_READY_SECONDS = 120
_STOP_SECONDS = 100


class Running:
    """An installation that this process started."""

    def __init__(self, root: Path, port_base: int) -> None:
        """Choose the home folder and the ports; nothing starts yet."""
        self.home = Home(root)
        self._argv = [
            sys.executable,
            "-m",
            "addon.cli",
            "up",
            "--home",
            str(root),
            "--port-base",
            str(port_base),
        ]
        self._log = root / "up.log"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and return when it is ready.

        Raises:
            Failure: it did not start; its own message is the reason.
        """
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                tethered(self._argv, signal.SIGTERM),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        if self._first_line() != "ready":
            self.end()
            raise Failure(
                "The demo could not start Sluice", self._log.read_text(), "Mend that, then try again."
            )

    def _first_line(self) -> str:
        answers: queue.Queue[str] = queue.Queue()
        process = self._running()
        if process.stdout is None:
            raise RuntimeError("started without a pipe")
        threading.Thread(
            target=lambda out: answers.put(out.readline()), args=(process.stdout,), daemon=True
        ).start()
        try:
            return answers.get(timeout=_READY_SECONDS).strip()
        except queue.Empty:
            return ""

    def stop(self) -> None:
        """Stop it.

        Raises:
            Failure: it did not end as it should.
        """
        code = self.end()
        if code != 0:
            raise Failure(
                f"Sluice ended with exit code {code}", self._log.read_text(), f"Read {self.home.logs}"
            )

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise RuntimeError("not started")
        return self._process

    def end(self) -> int:
        """Stop it, if need be by force; return its exit code (0 when it was never started)."""
        if self._process is None:
            return 0
        process = self._process
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        return code

    def death(self) -> Failure | None:
        """Return how it ended by itself, in its own words; None while it runs, or when it never did."""
        if self._process is None or self._process.poll() is None:
            return None
        return Failure(
            "Sluice ended in the middle of the demo", self._log.read_text(), f"Read {self.home.logs}"
        )

    def recipe(self) -> dict[str, str]:
        """Return the variables that clients need."""
        return from_shell(self.home.recipe())

    def wait(self) -> None:
        """Stay until Ctrl-C.

        Raises:
            Failure: it ended by itself.
        """
        with contextlib.suppress(KeyboardInterrupt):
            self._running().wait()
            raise self.death() or RuntimeError("ended, yet alive")
