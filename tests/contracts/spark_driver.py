"""A Spark driver as a process of its own: runs in as lines of JSON, what became of them out.

A process has one Spark context at most, and the test's own is local.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.contracts.errors import JobsError
from jobs.run.runner import run_analysis

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "jobs" / "engines" / "spark_conf"
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For the Java of a process that lives for a minute: it earns nothing with what it compiles thoroughly."""
SMALL = {"spark.sql.codegen.wholeStage": "false", "spark.sql.shuffle.partitions": "2"}


@dataclass
class Outcome:
    """What a run left: its manifest and outputs, or the error's text."""

    error: str = ""
    manifest: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)


class SparkDriver:
    """A driver with the given environment, to be closed."""

    def __init__(self, folder: Path, settings: Mapping[str, str], **environment: str) -> None:
        """Start it; ``settings`` are Spark's, as the operator would write them into spark-defaults.conf."""
        self.folder = Path(tempfile.mkdtemp(prefix="driver-", dir=folder))
        quiet = CONFIGURATION / "log4j2.properties"
        (self.folder / quiet.name).write_text(quiet.read_text())
        lines = [f"{key} {value}\n" for key, value in settings.items()]
        (self.folder / "spark-defaults.conf").write_text("".join(lines))
        with (self.folder / "stderr").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.contracts.spark_driver"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                text=True,
                env=os.environ
                | {"SPARK_CONF_DIR": str(self.folder), "SPARK_SUBMIT_OPTS": QUICK, **environment},
            )

    def ask(
        self, name: str, inputs: Mapping[str, Path | list[Path]], params: Mapping[str, Any], **conf: str
    ) -> Path:
        """Begin a run; return where its outputs will be."""
        out = Path(tempfile.mkdtemp(prefix="out-", dir=self.folder))
        files = {
            table: list(map(str, given)) if isinstance(given, list) else str(given)
            for table, given in inputs.items()
        }
        asked = {"name": name, "inputs": files, "params": params, "out": str(out), "conf": SMALL | conf}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return out

    def outcome(self, out: Path) -> Outcome:
        """Wait for the run that was begun."""
        assert self.process.stdout is not None
        answer = self.process.stdout.readline()
        assert answer, self.said()
        error = json.loads(answer)["error"]
        if error:
            return Outcome(error)
        manifest = json.loads((out / "manifest.json").read_text())
        return Outcome(
            "", manifest, {name: pq.read_table(out / f"{name}.parquet") for name in manifest["outputs"]}
        )

    def run(
        self, name: str, inputs: Mapping[str, Path | list[Path]], params: Mapping[str, Any], **conf: str
    ) -> Outcome:
        """Run an analysis to its end."""
        return self.outcome(self.ask(name, inputs, params, **conf))

    def said(self) -> str:
        """Return all that it and its Java process wrote to stderr."""
        return (self.folder / "stderr").read_text(errors="replace")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End it: it sees the end of its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with self.process:
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()


def _answer(asked: dict[str, Any]) -> str:
    from jobs.engines.spark import SparkEngine  # noqa: PLC0415 - only the driver loads Spark

    try:
        engine = SparkEngine(conf=asked["conf"])
        try:
            run_analysis(asked["name"], engine, asked["inputs"], asked["params"], Path(asked["out"]))
        finally:
            engine.close()
    except JobsError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps({"error": _answer(json.loads(line))}) + "\n")
        sys.stdout.flush()
