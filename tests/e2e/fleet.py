"""Several add-on processes with roles apart on one PostgreSQL database and one shared folder; and writers."""

from __future__ import annotations

import random
import shutil
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx

from tests.faults.live_addon import LiveAddon, gzipped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROWS = 5
_SECOND = 1_780_000_000


class Fleet:
    """Nodes by name; the first one made decides about the credentials."""

    def __init__(self, folder: Path, database: str, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            "SLUICE_ADDON_DATABASE_URL": database,
            "SLUICE_ADDON_SHARED_FOLDER": str(folder / "shared"),
            **environment,
        }
        (folder / "shared").mkdir(mode=0o700)
        self.nodes: dict[str, LiveAddon] = {}

    def add(self, name: str, role: str, **environment: str) -> LiveAddon:
        """Make a node's home, with the credentials of the others; it is not started."""
        home = self.folder / name
        if self.nodes:
            first = next(iter(self.nodes.values()))
            (home / "addon").mkdir(parents=True, mode=0o700)
            shutil.copy(first.home / "addon" / "credentials.json", home / "addon" / "credentials.json")
        given = {**self.environment, **environment}
        self.nodes[name] = LiveAddon(home, **given, SLUICE_ADDON_ROLE=role)
        return self.nodes[name]

    def start(self) -> Self:
        for node in self.nodes.values():
            node.start()
        return self

    def stop(self) -> dict[str, int]:
        """End all that run; return their exit codes."""
        return {name: node.stop() for name, node in self.nodes.items() if node.process is not None}


def path_of(database: str, upload: str) -> str:
    """Return the path of an import with an id."""
    return f"/v3/table/import_with_id/{database}/events/{upload}/msgpack.gz"


def body_of(upload: str) -> bytes:
    """Return an import's body: the same for the same id."""
    return gzipped(
        [{"time": _SECOND, "upload": upload, "row": f"{upload}/{number}"} for number in range(ROWS)]
    )


@dataclass
class Writer:
    """Sends uploads one after the other, each to some node and, until it is acknowledged, to others too."""

    name: str
    nodes: Sequence[LiveAddon]
    key: str
    database: str
    acked: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    answers: dict[int, int] = field(default_factory=dict)
    repeats: int = 0

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop; a quarter of the acknowledged ones is sent to another node again."""
        rng = random.Random(self.name)  # noqa: S311 - a repeatable order
        headers = {"authorization": f"TD1 {self.key}"}
        with httpx.Client(headers=headers, timeout=20) as client:
            number = 0
            while not stop.is_set():
                number += 1
                upload = f"{self.name}-{number}"
                self.sent.add(upload)
                order = rng.sample(list(self.nodes), len(self.nodes))
                while not stop.is_set() and not any(self._send(client, node, upload) for node in order):
                    time.sleep(0.05)
                if upload in self.acked and rng.random() < 0.25:
                    self.repeats += self._send(client, order[-1], upload)

    def _send(self, client: httpx.Client, node: LiveAddon, upload: str) -> bool:
        try:
            answer = client.put(node.url + path_of(self.database, upload), content=body_of(upload))
        except httpx.HTTPError:
            return False
        self.answers[answer.status_code] = self.answers.get(answer.status_code, 0) + 1
        if answer.status_code == 200:
            self.acked.add(upload)
            return True
        assert answer.status_code in {503, 507}, answer.text
        return False


class Load:
    """Writers in threads."""

    def __init__(self, nodes: Sequence[LiveAddon], key: str, database: str, count: int = 3) -> None:
        self.writers = [Writer(f"w{number}", nodes, key, database) for number in range(count)]
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(writer,)) for writer in self.writers]

    def _run(self, writer: Writer) -> None:
        try:
            writer.run(self._stop)
        except BaseException as error:
            self._failures.append(error)
            raise

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    @property
    def acked(self) -> set[str]:
        return set().union(*(writer.acked for writer in self.writers))

    @property
    def sent(self) -> set[str]:
        return set().union(*(writer.sent for writer in self.writers))

    @property
    def repeats(self) -> int:
        return sum(writer.repeats for writer in self.writers)


def check(node: LiveAddon, database: str, acked: set[str], sent: set[str]) -> None:
    """Compare what is in the table with what was acknowledged: nothing lost, nothing twice, no stranger."""
    rows = node.query("select upload, count(*), count(distinct row) from events group by 1", database)
    stored = {upload: (count, distinct) for upload, count, distinct in rows}
    assert acked - stored.keys() == set(), "lost"
    assert {upload: counts for upload, counts in stored.items() if counts != (ROWS, ROWS)} == {}, "doubled"
    assert stored.keys() - sent == set()
    with node.http() as client:
        tables = client.get(f"/v3/table/list/{database}").json()["tables"]
    assert {table["name"]: table["count"] for table in tables}["events"] == ROWS * len(stored)
