"""Lines over one TCP connection until they are safe: syslog into the running add-on, and into its peers.

A line counts when the receiver says that the log has it on disk; the sender just sends, as syslog does. The
peers are the same server with a log that is never synced, and a plain server that handles line by line and
syncs nothing either.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.benchmarks.figures import Figure, interleaved
from tests.faults.live_addon import ROOT, LiveAddon

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "receivers"
LINES = 40_000
ROUNDS = 5
_SYSLOG = 6
_WAIT_S = 60.0
_STORED = re.compile(r'^sluice_receiver_stored_total\{receiver="syslog"\} (\d+)$', re.MULTILINE)


class _Twin(LiveAddon):
    """The add-on whose log is not synced."""

    module = "tests.benchmarks.unsynced_addon"


def figures() -> list[Figure]:
    """Measure and return the figures."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as name:
        folder = Path(name)
        with (
            _serving(LiveAddon(folder / "synced")) as ours,
            _serving(_Twin(folder / "twin")) as twin,
            _line_server(folder / "lines.json") as port,
        ):
            rates = interleaved(
                {
                    "ours": lambda: _into_addon(ours),
                    "twin": lambda: _into_addon(twin),
                    "lines": lambda: _into_lines(port),
                },
                ROUNDS,
            )
    return [
        Figure.measured(
            "receivers.syslog.synced",
            rates["ours"],
            "lines/s",
            bar=">= 0.75 x peer",
            peer="the same server, its log never synced",
            peer_value=rates["twin"],
        ),
        Figure.measured(
            "receivers.syslog.lines",
            rates["ours"],
            "lines/s",
            bar=">= 1 x peer",
            peer="a Python server that handles line by line and syncs nothing",
            peer_value=rates["lines"],
        ),
    ]


@contextmanager
def _serving(addon: LiveAddon) -> Iterator[LiveAddon]:
    addon.start()
    try:
        yield addon
    finally:
        addon.kill()


@contextmanager
def _line_server(file: Path) -> Iterator[int]:
    argv = [sys.executable, "-m", "tests.benchmarks.line_server", str(file)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def _messages(token: str) -> bytes:
    head = f'<13>1 2026-11-25T13:00:00.123456Z shop web 17 - [sluice@32473 token="{token}"] '
    return "".join(
        f"{head}at=info method=GET path=/p/{number % 2_000} status=200 service={number % 90}ms n={number}\n"
        for number in range(LINES)
    ).encode()


def _stored(addon: LiveAddon) -> int:
    found = _STORED.search(httpx.get(f"{addon.url}/metrics").text)
    return 0 if found is None else int(found[1])


def _into_addon(addon: LiveAddon) -> float:
    """Return lines a second until the last one is on disk."""
    data, wanted = _messages(str(addon.keys["td_api_key"])), _stored(addon) + LINES
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", addon.base + _SYSLOG)) as connection:
        connection.sendall(data)
        while _stored(addon) < wanted:
            if time.perf_counter() - began > _WAIT_S:
                raise TimeoutError(f"{wanted - _stored(addon)} lines were not stored")
            time.sleep(0.005)  # syslog tells nobody when a message has arrived
    return LINES / (time.perf_counter() - began)


def _into_lines(port: int) -> float:
    """Return lines a second until the server has written the last one."""
    data = _messages("1/0123456789abcdef0123456789abcdef")
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    return LINES / (time.perf_counter() - began)
