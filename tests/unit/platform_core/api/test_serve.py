"""``python -m platform_core serve`` as a process: ready, port in use, restart, end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[4]


class Serving:
    """Platform processes on one home and port base."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base = free_base()
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *options: str, **env: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "platform_core", "serve", "--home", str(self.home)]
        argv += ["--port-base", str(self.base), *options]
        process = subprocess.Popen(
            argv,
            cwd=_ROOT,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def ready(self) -> subprocess.Popen[str]:
        process = self.start()
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        watchdog.cancel()
        assert line == "ready\n", process.communicate()
        return process

    def get(self, path: str) -> httpx.Response:
        key = (self.home / "owner.key").read_text().strip()
        return httpx.get(
            f"http://127.0.0.1:{self.base}{path}", headers={"Authorization": f"Bearer {key}"}, timeout=10
        )


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A home and a port base; what was started is killed in the end."""
    it = Serving(tmp_path / "home")
    yield it
    for process in it.started:
        process.kill()
        process.communicate()


def test_it_serves_until_sigterm_and_keeps_everything(serving: Serving) -> None:
    process = serving.ready()
    key = serving.home / "owner.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((serving.home / "platform.db").stat().st_mode) == 0o600
    account = serving.get("/account").json()
    for offset in (1, 2):
        response = httpx.get(f"http://127.0.0.1:{serving.base + offset}/nothing", timeout=10)
        assert response.status_code == 404
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    again = serving.ready()
    assert serving.get("/account").json() == account
    again.send_signal(signal.SIGINT)
    assert again.wait(timeout=10) == 0


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_port_in_use_is_one_clear_line(serving: Serving, offset: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", serving.base + offset))
        taken.listen()
        out, err = serving.start().communicate(timeout=60)
    assert serving.started[0].returncode == 1
    assert out == ""
    said = [line for line in err.splitlines() if line.startswith("platform_core: ")]
    assert len(said) == 1
    assert f"Port {serving.base + offset} (" in said[0]
    assert "--port-base" in said[0]


def test_a_wrong_setting_is_one_clear_line(serving: Serving) -> None:
    for env, text in (
        ({"SLUICE_PLATFORM_OWNER_KEY": "secret"}, "HRKU-<uuid>"),
        ({"SLUICE_PLATFORM_DYNO_SERVICES": "nonsense"}, "host:port"),
    ):
        process = serving.start(**env)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert text in err
        assert "Traceback" not in err
