"""Fills a small real file system under the running server with three writers, kills it there, makes room.

Run as a program: ``unshare --mount python -m tests.faults.full_disk --folder DIR``, as root: it mounts a
tmpfs of its own, which nobody else sees and which goes with it. What was acknowledged must be in the table
at every stage; refusals must be clear and say when to come back; with room again everything goes on by
itself. With ``--thin``, nothing is killed. Prints one line; exit 1 on loss or doubling.
"""

from __future__ import annotations

import argparse
import base64
import errno
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.faults.live_addon import LiveAddon, gzipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROWS = 10
WRITERS = 3
_MB = 1 << 20
_SIZE, _BALLAST = 34 * _MB, 14 * _MB
_QUIET_S = 1.2
"""Nothing was acknowledged for so long: the disk is full for good."""
_LIMIT_S = 90.0


def body(name: str) -> bytes:
    """Return the batch of that name: rows that hardly compress."""
    rng = random.Random(name)  # noqa: S311 - reproducible bytes
    text = [base64.b85encode(rng.randbytes(20_000)).decode() for _ in range(ROWS)]
    return gzipped([{"id": f"{name}/{n}", "time": 1_700_000_000, "x": text[n]} for n in range(ROWS)])


def fill_up(path: Path) -> None:
    """Take all the room that is left, as a neighbour would."""
    with path.open("wb", buffering=0) as file:
        for size in (_MB, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


@dataclass
class Writers:
    """Three clients that import batch after batch, each again under its id until it is acknowledged."""

    addon: LiveAddon
    acked: list[str] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)
    """Answers that say too little."""
    newest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _go: threading.Event = field(default_factory=threading.Event)
    _idle: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let them write while the context lasts."""
        threads = [threading.Thread(target=self._run, args=(n,)) for n in range(WRITERS)]
        self._go.set()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._go.set()
            for thread in threads:
                thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hold them between two requests."""
        self._go.clear()
        for _ in range(WRITERS):
            self._idle.acquire()
        try:
            yield
        finally:
            self.newest = time.monotonic()
            self._go.set()

    def _run(self, writer: int) -> None:
        with self.addon.http() as client:
            number = 0
            while not self._stop.is_set():
                if not self._go.is_set():
                    self._idle.release()
                    self._go.wait()
                    continue
                name = f"w{writer}-{number}"
                if self._send(client, name):
                    number += 1
                    self.acked.append(name)
                    self.newest = time.monotonic()
                else:
                    self._stop.wait(0.05)

    def _send(self, client: httpx.Client, name: str) -> bool:
        path = f"/v3/table/import_with_id/shop/events/{name}/msgpack.gz"
        try:
            answer = client.put(path, content=body(name))
        except httpx.HTTPError:
            self.unanswered += 1
            return False
        if answer.status_code == 200:
            return True
        self.refused[answer.status_code] += 1
        told = answer.status_code in {503, 507} and int(answer.headers.get("retry-after", "0")) > 0
        if not told or (answer.status_code == 507 and "full" not in answer.json()["error"]):
            self.wrong.append(f"{answer.status_code} {answer.headers.get('retry-after')} {answer.text[:200]}")
        return False

    def until(self, what: str, reached: Callable[[], bool]) -> None:
        """Wait for something that the writers bring about."""
        deadline = time.monotonic() + _LIMIT_S
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {len(self.acked)} acked, {self.refused}, {self.wrong[:3]}")
            time.sleep(0.02)  # the threads have no event for it

    def until_full(self) -> None:
        """Wait until nothing has been acknowledged for a while."""
        before, self.newest = self.refused[507], time.monotonic()
        self.until(
            "the disk never filled up",
            lambda: self.refused[507] > before and time.monotonic() - self.newest > _QUIET_S,
        )

    def until_more(self, count: int) -> None:
        """Wait for so many more acknowledgements."""
        wanted = len(self.acked) + count
        self.until("it did not go on by itself", lambda: len(self.acked) >= wanted)


@dataclass
class Run:
    """The server on its small disk, and what was found wrong."""

    disk: Path
    addon: LiveAddon
    writers: Writers
    kills: int = 0
    checks: int = 0
    lost: int = 0
    doubled: int = 0

    def check(self) -> None:
        """Compare the table with what was acknowledged; a batch without an answer may be there or not."""
        with self.writers.paused():
            rows = self.addon.query("select id, count(*) from events group by 1", "shop")
            found = {str(name): int(count) for name, count in rows}
            self.checks += 1
            self.lost += sum(f"{name}/{n}" not in found for name in self.writers.acked for n in range(ROWS))
            self.doubled += sum(found.values()) - len(found)

    def stages(self, *, thin: bool) -> None:
        """Fill the disk, take its last byte, kill, start again, make room; look at each stage."""
        neighbour = self.disk / "neighbour"
        self.writers.until_full()
        self.check()
        fill_up(neighbour)
        httpx.get(f"{self.addon.url}/healthz", timeout=10).raise_for_status()
        if not thin:
            self.addon.kill()
            neighbour.unlink()
            self.addon.start()
            self.kills += 1
            self.check()
            self.writers.until_full()
            fill_up(neighbour)
            self.writers.until_full()
        neighbour.unlink()
        self.writers.until_full()
        (self.disk / "ballast").unlink()
        self.writers.until_more(5 * WRITERS)
        self.check()

    def drained(self) -> bool:
        """Tell whether the log gets empty by itself when nothing comes."""
        with self.writers.paused():
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                told = httpx.get(f"{self.addon.url}/metrics", timeout=10).text
                if "\nsluice_ingest_unflushed_batches 0\n" in told:
                    return True
                time.sleep(0.05)  # the flush has no event for outsiders
        return False


def run(folder: Path, *, thin: bool) -> tuple[str, bool]:
    """Return the line of figures, and whether it is good."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)], check=True)
    (folder / "ballast").write_bytes(b"\0" * _BALLAST)
    addon = LiveAddon(folder / "home").start()
    writers = Writers(addon)
    found = Run(folder, addon, writers)
    try:
        addon.make_table("shop", "events")
        with writers.running():
            found.stages(thin=thin)
            writers.until("the log is not drained", found.drained)
        status = addon.stop()
    finally:
        addon.kill()
    line = (
        f"{WRITERS} writers on {_SIZE >> 20} MB: {found.kills} kills, {len(writers.acked)} acked, "
        f"{found.lost} lost, {found.doubled} doubled, {dict(writers.refused)} refused, "
        f"{found.checks} checks, {len(writers.wrong)} unclear answers, exit {status}"
    )
    print(*writers.wrong[:5], sep="\n", file=sys.stderr)  # noqa: T201 - a program
    good = len(writers.acked) > 30 and writers.refused[507] and not status
    return line, bool(good and not (found.lost or found.doubled or writers.wrong))


def main(argv: Sequence[str]) -> int:
    """Run it, print the figures, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--thin", action="store_true")
    options = parser.parse_args(argv)
    line, good = run(options.folder, thin=options.thin)
    print(line)  # noqa: T201 - a program
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
