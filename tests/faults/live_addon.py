"""The add-on as a process on a home folder, to be filled, killed and started again; and its HTTP client."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Self

import httpx
import msgpack

from tests.ports import free_base

ROOT = Path(__file__).parents[2]
_HTTP, _TLS = 4, 5


def gzipped(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as an import's body; the same rows give the same bytes."""
    return gzip.compress(b"".join(map(msgpack.packb, rows)), 1, mtime=0)


def framed(lines: list[str]) -> bytes:
    """Return lines as a logplex-1 body."""
    head = b"<190>1 2026-11-25T13:00:00.123456+00:00 host app web.1 - "
    frames = [head + line.encode() + b"\n" for line in lines]
    return b"".join(b"%d %b" % (len(frame), frame) for frame in frames)


class LiveAddon:
    """``start`` and ``kill`` or ``stop`` as often as wanted; everything is kept in the home folder."""

    module = "addon"
    """What is run; a subclass may wrap it."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.base = free_base()
        self.environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
        self.process: subprocess.Popen[str] | None = None
        self.keys: dict[str, Any] = json.loads(
            subprocess.run(
                [sys.executable, "-m", "addon", "init", *self._arguments()],
                check=True,
                capture_output=True,
                text=True,
                env=self.environment,
                cwd=ROOT,
            ).stdout
        )

    def _arguments(self) -> list[str]:
        return ["--home", str(self.home), "--port-base", str(self.base)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.base + _HTTP}"

    @property
    def log(self) -> Path:
        """What it says on stderr, of all its lives."""
        return self.home.parent / f"{self.home.name}.log"

    def start(self) -> Self:
        """Start it, return when it serves."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "serve", *self._arguments()],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
                cwd=ROOT,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", self.log.read_text()[-3000:]
        return self

    def kill(self) -> None:
        """Kill it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; return its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(number)
        with process:
            return process.wait(60)

    def http(self) -> httpx.Client:
        """Return a client with the local account's key."""
        headers = {"authorization": f"TD1 {self.keys['td_api_key']}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def make_table(self, database: str, table: str) -> None:
        """Create a database and a table."""
        with self.http() as client:
            client.post(f"/v3/database/create/{database}").raise_for_status()
            client.post(f"/v3/table/create/{database}/{table}/log").raise_for_status()

    def drain(self) -> tuple[str, tuple[str, str], str]:
        """Provision a resource; return its drain's path, its credentials, and its API key."""
        auth = (self.keys["provider_user"], self.keys["provider_password"])
        resource = str(uuid.uuid5(uuid.NAMESPACE_URL, str(self.home)))
        body = {
            "uuid": resource,
            "name": "shop-1",
            "plan": "premium",
            "region": "amazon-web-services::us-east-1",
        }
        accept = {"accept": "application/vnd.heroku-addons+json; version=3"}
        answer = httpx.post(f"{self.url}/heroku/resources", auth=auth, json=body, headers=accept, timeout=30)
        answer.raise_for_status()
        url = httpx.URL(answer.json()["log_drain_url"])
        return url.path, (url.username, url.password), answer.json()["config"]["TREASURE_DATA_API_KEY"]

    def query(self, sql: str, database: str, key: str | None = None) -> list[list[Any]]:
        """Run a query, return its rows."""
        headers = {"authorization": f"TD1 {key or self.keys['td_api_key']}"}
        answer = httpx.post(
            f"{self.url}/sluice/v1/query",
            json={"sql": sql, "database": database},
            headers=headers,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        rows: list[list[Any]] = answer.json()["rows"]
        return rows
