"""Analyses through the add-on's routes: start a run, wait for its end, fetch what it gave."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from addon.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from addon.cli.client import Client

_BASE = "/api/analyses"
_BY_NUMBER = "/sluice/v1/analyses"
_LONGEST_LOOK_S = 30


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """A finished analysis: its manifest, and each output table as a Parquet file's bytes."""

    manifest: dict[str, Any]
    outputs: dict[str, bytes]

    def write(self, folder: Path) -> Path:
        """Write it as a run folder, such as `python -m jobs run` leaves; return the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, parquet in self.outputs.items():
            (folder / f"{name}.parquet").write_bytes(parquet)
        (folder / "manifest.json").write_text(json.dumps(self.manifest, indent=2) + "\n")
        return folder


class Run:
    """A run that was started."""

    def __init__(self, client: Client, name: str, number: str) -> None:
        """Know it by its analysis and number."""
        self._client = client
        self._name = name
        self.number = number
        self._path = f"{_BASE}/{quote(name, safe='')}/runs/{number}"

    def wait(
        self, timeout: float, tell: Callable[[str], None] | None = None, *, look_s: int = _LONGEST_LOOK_S
    ) -> dict[str, Any]:
        """Return the run as the server shows it once it ended well; ``tell`` hears how far it has come.

        Raises:
            Failure: it failed, was killed, or takes longer than ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            look = max(1, min(look_s, math.ceil(deadline - time.monotonic())))
            shown: dict[str, Any] = self._client.call("GET", self._path, params={"wait": look}).json()
            if tell is not None:
                tell(_told(shown))
            if shown["status"] == "success":
                return shown
            if shown["status"] in {"error", "killed"}:
                raise self._failure(shown)
            if time.monotonic() > deadline:
                advice = f"It goes on. Kill it with POST {self._path}/kill, or try a longer --timeout."
                raise Failure(
                    f"The analysis {self._name} is still {shown['status']}", "", advice, Exit.TIMEOUT
                )

    def _failure(self, shown: Mapping[str, Any]) -> Failure:
        status, reason = shown["status"], str(shown["error"] or "the server gives no reason")
        what = f"The analysis {self._name} (job {self.number}): {status}"
        code = Exit.JOB_FAILED if status == "error" else Exit.JOB_KILLED
        return Failure(what, reason, "Mend it, then run again.", code)

    def rows(self, output: str) -> list[dict[str, Any]]:
        """Return an output's rows."""
        path, options = f"{self._path}/outputs/{output}", {"format": "json"}
        found: list[dict[str, Any]] = self._client.call("GET", path, params=options).json()["rows"]
        return found

    def result(self, shown: Mapping[str, Any]) -> AnalysisResult:
        """Return every output as Parquet, with the manifest."""
        outputs = {
            one["name"]: self._client.call("GET", f"{self._path}/outputs/{one['name']}").content
            for one in shown["outputs"]
        }
        return AnalysisResult(shown["manifest"], outputs)


def _told(shown: Mapping[str, Any]) -> str:
    """Return a run's state in a few words."""
    progress = shown.get("progress")
    if shown["status"] == "running" and progress:
        return f"{progress['stage']} {progress['percent']} %"
    return str(shown["status"])


def start(client: Client, name: str, body: Mapping[str, Any]) -> Run:
    """Start a run.

    Raises:
        Failure: the server refuses it; a parameter or an input that is not valid is a usage error.
    """
    try:
        made = client.call("POST", f"{_BASE}/{quote(name, safe='')}/runs", json=dict(body)).json()
    except Failure as failure:
        if failure.what.endswith((" 400", " 422")):
            what, advice = f"The analysis {name} is refused", f"See what it takes: GET {_BASE}/{name}"
            raise Failure(what, failure.why, advice, Exit.USAGE) from failure
        raise
    return Run(client, name, str(made["run"]))


def manifest_of(client: Client, number: str) -> dict[str, Any]:
    """Return the manifest of a finished run.

    Raises:
        Failure: there is no such run, or it has not ended well.
    """
    shown: dict[str, Any] = client.call("GET", f"{_BY_NUMBER}/{quote(number, safe='')}").json()
    if shown["manifest"] is None:
        why = str(shown["error"] or f"it is {shown['status']}")
        raise Failure(f"Run {number} has no manifest", why, "Name a run that ended well.", Exit.NOT_FOUND)
    found: dict[str, Any] = shown["manifest"]
    return found


def run(  # noqa: PLR0917  (what a run is of)
    client: Client,
    database: str,
    name: str,
    inputs: Mapping[str, str],
    params: Mapping[str, Any],
    timeout: float = 600.0,
) -> AnalysisResult:
    """Run an analysis on tables that SQL makes; return all its outputs.

    Raises:
        Failure: it failed, was killed, or took longer than ``timeout`` seconds.
    """
    started = start(client, name, {"database": database, "inputs": dict(inputs), "params": dict(params)})
    return started.result(started.wait(timeout))
