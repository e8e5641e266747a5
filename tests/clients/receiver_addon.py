"""A real add-on process with its TCP receivers open, for the tests with real senders."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.clients import td_addon
from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ReceiverAddon:
    """Where the receivers are, and what came of what was sent to them."""

    def __init__(self, running: td_addon.Running, base: int) -> None:
        self.running = running
        self.key = str(running.keys["td_api_key"])
        self.forward_key = str(running.keys["forward_key"])
        self.account = self.key.partition("/")[0]
        self.syslog, self.syslog_tls, self.forward, self.forward_local = range(base + 6, base + 10)

    def rows(self, sql: str, database: str = "logs", key: str | None = None) -> list[list[Any]]:
        """Run a query; no rows while the table is not there."""
        answer = httpx.post(
            f"{self.running.url}/sluice/v1/query",
            json={"sql": sql, "database": database},
            headers={"authorization": f"TD1 {key or self.key}"},
            timeout=60,
        )
        if answer.status_code == 404:
            return []
        assert answer.status_code == 200, answer.text
        found: list[list[Any]] = answer.json()["rows"]
        return found

    def wait_for(
        self, count: int, sql: str, database: str = "logs", key: str | None = None, seconds: float = 30
    ) -> list[list[Any]]:
        """Return the rows once there are as many: syslog tells nobody when a message has arrived."""
        until = time.monotonic() + seconds
        while len(found := self.rows(sql, database, key)) < count and time.monotonic() < until:
            time.sleep(0.05)
        assert len(found) == count, found[:20]
        return found

    def provision(self, drain_token: str) -> str:
        """Provision a resource with a platform's drain token; return its API key."""
        body = {"uuid": "0f6e0f6e-0000-4000-8000-00000000abcd", "name": "shop-1", "plan": "premium"}
        accept = {"accept": "application/vnd.heroku-addons+json; version=3"}
        with self.running.platform() as client:
            answer = client.post(
                "/heroku/resources",
                json={**body, "region": "us", "log_drain_token": drain_token},
                headers=accept,
            )
        answer.raise_for_status()
        return str(answer.json()["config"]["TREASURE_DATA_API_KEY"])

    def metric(self, name: str, way: str) -> int:
        """Return a receiver's counter."""
        text = httpx.get(f"{self.running.url}/metrics", timeout=10).text
        start = f'sluice_receiver_{name}_total{{receiver="{way}"}} '
        return next(int(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start))


@contextlib.contextmanager
def receiver_addon(home: Path) -> Iterator[ReceiverAddon]:
    """Run an add-on with every way in open."""
    base = free_base()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLUICE_ADDON_FORWARD_LOCAL", "true")
        running = td_addon.start(home, base)
    try:
        yield ReceiverAddon(running, base)
    finally:
        td_addon.stop(running)
