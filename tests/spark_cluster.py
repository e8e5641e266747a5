"""A standalone Spark cluster for tests: a master and its workers, each a process of its own on loopback.

The wheel of PySpark brings no start scripts for it, but the classes and `spark-class` to run them by.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pyspark

from tests.ports import free_base

if TYPE_CHECKING:
    from collections.abc import Iterator

SPARK_HOME = Path(pyspark.__file__).parent
_CLASSES = "org.apache.spark.deploy"
_START_S = 180.0
_STOP_S = 30.0


@dataclass
class SparkCluster:
    """A running cluster. ``port`` is the master's, ``port + 1`` its page, the workers' pages follow.

    Attributes:
        folder: logs, and what the executors write.
        memory: of each worker, in Spark's notation.
        cores: of each worker.
        processes: by name, ``master``, ``worker1``, ``worker2``, …
    """

    folder: Path
    memory: str = "1g"
    cores: int = 1
    port: int = field(default_factory=free_base)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """What SLUICE_SPARK_MASTER is set to."""
        return f"spark://127.0.0.1:{self.port}"

    def start_master(self) -> None:
        """Start the master."""
        page = ["--webui-port", str(self.port + 1)]
        self._start("master", f"{_CLASSES}.master.Master", "--port", str(self.port), *page)

    def start_worker(self, number: int) -> None:
        """Start a worker."""
        limits = [
            "--cores",
            str(self.cores),
            "--memory",
            self.memory,
            "--webui-port",
            str(self.port + 1 + number),
        ]
        self._start(f"worker{number}", f"{_CLASSES}.worker.Worker", *limits, self.url)

    def _start(self, name: str, java_class: str, *arguments: str) -> None:
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_CONF_DIR": str(self.folder),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DAEMON_MEMORY": "192m",
            "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "SPARK_WORKER_DIR": str(place),
            "SPARK_LOCAL_DIRS": str(place),
            "PYSPARK_PYTHON": sys.executable,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            argv = [str(SPARK_HOME / "bin" / "spark-class"), java_class, "--host", "127.0.0.1", *arguments]
            self.processes[name] = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)

    def state(self) -> dict[str, Any]:
        """Return what the master's page says, as JSON; nothing while it does not answer."""
        try:
            found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port + 1}/json/", timeout=5).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return found

    def await_state(self, wanted: Any, seconds: float = _START_S) -> None:
        """Wait until ``wanted(state)`` holds; the master sends nobody a notice."""
        deadline = time.monotonic() + seconds
        while not wanted(self.state()):
            assert time.monotonic() < deadline, f"the cluster does not get there: {self.state()}"
            time.sleep(0.1)

    def await_workers(self, count: int) -> None:
        """Wait until so many workers are there."""
        self.await_state(lambda state: state.get("aliveworkers") == count)

    def await_no_application(self, seconds: float = 60.0) -> None:
        """Wait until no application runs and no core is taken."""
        self.await_state(lambda state: state.get("activeapps") == [] and state.get("coresused") == 0, seconds)

    def kill(self, name: str) -> None:
        """Kill a process as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End all processes that were started, the workers first."""
        for name in sorted(self.processes, reverse=True):
            self.processes[name].send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
            process.kill()
            process.wait()
        self.processes.clear()


@contextmanager
def spark_cluster(
    folder: Path, *, workers: int = 2, memory: str = "1g", cores: int = 1
) -> Iterator[SparkCluster]:
    """Run a master and its workers."""
    cluster = SparkCluster(folder, memory, cores)
    try:
        cluster.start_master()
        for number in range(1, workers + 1):
            cluster.start_worker(number)
        cluster.await_workers(workers)
        yield cluster
    finally:
        cluster.stop()
