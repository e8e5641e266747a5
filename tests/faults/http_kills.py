"""Kills the real server again and again while three clients write to it over HTTP, then counts by SQL.

Run as a program: ``python -m tests.faults.http_kills --home DIR --kills 30 --seed 1``. Two writers import
with upload ids, one posts logplex frames with frame ids. Each repeats what got no answer under its old id,
and now and then something that was acknowledged long ago. Prints one line; exit 1 on loss or doubling.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.faults.live_addon import LiveAddon, framed, gzipped

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = 20
_REPEAT = 0.1
"""Share of requests that repeat something acknowledged."""


@dataclass
class Writer:
    """One client; ``send`` posts a named batch and returns the status."""

    name: str
    addon: LiveAddon
    drain: tuple[str, tuple[str, str]] | None
    rng: random.Random
    stop: threading.Event
    acked: list[str] = field(default_factory=list)
    unanswered: int = 0
    surprises: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Send until told to stop; the batch in hand is repeated until it is acknowledged."""
        client = httpx.Client(timeout=10)
        number = 0
        batch = f"{self.name}-{number}"
        while not self.stop.is_set():
            repeat = self.acked and self.rng.random() < _REPEAT
            name = self.rng.choice(self.acked) if repeat else batch
            try:
                answer = self.send(client, name)
            except httpx.HTTPError:
                self.unanswered += 1
                client.close()
                client = httpx.Client(timeout=10)
                self.stop.wait(0.02)
                continue
            if answer.status_code in {503, 507}:
                continue
            if answer.status_code not in {200, 204}:
                self.surprises.append(f"{answer.status_code} {answer.text[:200]}")
                self.stop.wait(0.1)
            elif name == batch:
                self.acked.append(batch)
                number += 1
                batch = f"{self.name}-{number}"
        client.close()

    def send(self, client: httpx.Client, name: str) -> httpx.Response:
        """Post the batch of that name, the same bytes each time."""
        rows = [{"id": f"{name}/{n}", "time": 1_700_000_000 + n, "text": "x" * 50} for n in range(ROWS)]
        if self.drain is None:
            url = f"{self.addon.url}/v3/table/import_with_id/shop/events/{name}/msgpack.gz"
            key = {"authorization": f"TD1 {self.addon.keys['td_api_key']}"}
            return client.put(url, content=gzipped(rows), headers=key)
        path, auth = self.drain
        headers = {
            "content-type": "application/logplex-1",
            "logplex-msg-count": str(ROWS),
            "logplex-frame-id": name,
        }
        lines = [f'@[shop.events] {{"id":"{row["id"]}","time":{row["time"]}}}' for row in rows]
        return client.post(self.addon.url + path, content=framed(lines), headers=headers, auth=auth)


def found_ids(addon: LiveAddon, key: str | None) -> Counter[str]:
    """Return how often each id is in the account's table."""
    rows = addon.query("select id, count(*) as times from events group by id", "shop", key)
    return Counter({str(name): int(times) for name, times in rows})


def run(home: Path, kills: int, seed: int) -> tuple[str, bool]:
    """Return the line of figures, and whether nothing was lost or doubled."""
    rng = random.Random(seed)  # noqa: S311 - a reproducible plan
    addon = LiveAddon(home).start()
    addon.make_table("shop", "events")
    path, auth, key = addon.drain()
    stop = threading.Event()
    writers = [
        Writer(name, addon, drain, random.Random(seed + n), stop)  # noqa: S311 - a reproducible plan
        for n, (name, drain) in enumerate([("one", None), ("two", None), ("lines", (path, auth))])
    ]
    threads = [threading.Thread(target=writer.run, daemon=True) for writer in writers]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        time.sleep(rng.uniform(0.05, 0.9))  # the moment of death is the input of this test
        addon.kill()
        addon.start()
    stop.wait(0.3)
    stop.set()
    for thread in threads:
        thread.join()
    imported, drained = found_ids(addon, None), found_ids(addon, key)
    status = addon.stop()
    lost = doubled = 0
    for writer in writers:
        found = drained if writer.drain else imported
        lost += sum(1 for name in writer.acked for n in range(ROWS) if f"{name}/{n}" not in found)
        doubled += sum(times - 1 for name, times in found.items() if name.startswith(f"{writer.name}-"))
    acked = [len(writer.acked) for writer in writers]
    surprises = [text for writer in writers for text in writer.surprises]
    unanswered = sum(writer.unanswered for writer in writers)
    line = (
        f"{kills} kills, {sum(acked)} acked, {lost} lost, {doubled} doubled "
        f"(by writer {acked}, {unanswered} unanswered requests, {len(surprises)} surprises)"
    )
    if surprises:
        line += f": {surprises[0]}"
    return line, not (lost or doubled or surprises or status) and min(acked) > 0


def main(argv: Sequence[str]) -> int:
    """Run the kills, print the figures, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    line, good = run(options.home, options.kills, options.seed)
    print(line)  # noqa: T201 - a program
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
