"""S3-compatible servers for tests: moto in memory, localbucket on disk; each a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from addon.warehouse.objects.s3 import S3Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BIN = Path(sys.executable).parent
_START_S = 60.0
BUCKET = "warehouse"


@dataclass
class ObjectServer:
    """A running server; ``argv`` starts it again on the same port after a kill."""

    port: int
    argv: Sequence[str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _START_S
        while not self._answers():
            assert self.process.poll() is None, "the object server ended"
            assert time.monotonic() < deadline, "the object server does not answer"
            time.sleep(0.05)  # nothing tells us when it listens

    def _answers(self) -> bool:
        try:
            httpx.get(self.url, timeout=5)
        except httpx.HTTPError:
            return False
        return True

    def kill(self) -> None:
        """Kill the process as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def make_bucket(self, name: str = BUCKET) -> None:
        """Create a bucket where it is missing."""
        httpx.put(f"{self.url}/{name}", timeout=10)

    def place(self, prefix: str, *, url: str | None = None, bucket: str = BUCKET) -> S3Place:
        """Return where a part of the bucket is, perhaps by way of another address."""
        return S3Place(bucket, prefix, url or self.url, "us-east-1", "test", "testtest", allow_http=True)


@contextmanager
def moto(port: int) -> Iterator[ObjectServer]:
    """Run moto's server."""
    argv = [str(_BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    yield from _running(ObjectServer(port, argv))


@contextmanager
def localbucket(port: int, folder: Path) -> Iterator[ObjectServer]:
    """Run localbucket over a folder."""
    argv = [str(_BIN / "localbucket"), "--host", "127.0.0.1", "--port", str(port), str(folder)]
    yield from _running(ObjectServer(port, argv))


def _running(server: ObjectServer) -> Iterator[ObjectServer]:
    try:
        server.start()
        server.make_bucket()
        yield server
    finally:
        server.kill()
