"""``sluice report``: reports as files of definitions, their runs, and the pages that they left."""

from __future__ import annotations

import json
import sys
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from addon.cli.client import Client, credentials
from addon.cli.failures import Exit, Failure
from addon.cli.output import Format, print_rows
from addon.cli.schedule import unix_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_ROOT = "/api/reports"
_LISTED = ("name", "title", "period", "analyses", "deliveries", "revision", "updated_at")
_RUNS = ("run", "slot", "status", "complete", "window", "deliveries", "job_id")
_DELIVERIES = ("name", "type", "target", "status", "attempts", "error")
_LONGEST_WAIT_S = 60


class ReportCommands:
    """The commands on one server; each prints what the server answers."""

    def __init__(self, root: Path, form: Format) -> None:
        """Take the home folder, and the form of output."""
        self._root = root
        self._form = form

    def apply(self, file: Path) -> Exit:
        """Make or change the report that a file defines, and print its name.

        Raises:
            Failure: the file is no definition, or the server refuses it.
        """
        body = read_file(file)
        name = body.get("name")
        if not isinstance(name, str):
            raise Failure(f"{file} names no report", "the field name is missing", "Add it.", Exit.USAGE)
        with self._client() as client:
            made = client.call("PUT", _path(name), json=body).json()
        return self._print(_LISTED, [_listed(made)])

    def list(self) -> Exit:
        """Print all reports."""
        with self._client() as client:
            found = client.call("GET", _ROOT).json()["reports"]
        return self._print(_LISTED, [_listed(one) for one in found])

    def show(self, name: str, run: str | None) -> Exit:
        """Print a report's definition and runs; or of one run, what it found and what was delivered."""
        with self._client() as client:
            if run is not None:
                return self._show_run(client.call("GET", _path(name, "runs", run)).json())
            definition = client.call("GET", _path(name)).json()
            runs = client.call("GET", _path(name, "runs")).json()["runs"]
        if self._form is Format.JSON:
            return _json({**definition, "runs": runs})
        print(json.dumps(definition, indent=2, ensure_ascii=False), file=sys.stderr)
        return self._print(_RUNS, [_row(one) for one in runs])

    def _show_run(self, run: Mapping[str, Any]) -> Exit:
        if self._form is Format.JSON:
            return _json(run)
        for text in _told(run):
            print(text, file=sys.stderr)
        return self._print(_DELIVERIES, run["deliveries"])

    def run(self, name: str, slot: str | None, timeout: float) -> Exit:
        """Run a report, wait for its end, and print what was delivered.

        Raises:
            Failure: the run failed, or is not over within ``timeout`` seconds.
        """
        params = {} if slot is None else {"slot": str(unix_time(slot))}
        deadline = time.monotonic() + timeout
        with self._client() as client:
            job = client.call("POST", _path(name, "runs"), params=params).json()["job_id"]
            while True:
                wait = max(1, min(_LONGEST_WAIT_S - 10, int(deadline - time.monotonic())))
                shown = client.call("GET", _path(name, "jobs", job), params={"wait": wait}).json()
                if shown["status"] not in {"queued", "running"}:
                    break
                if time.monotonic() > deadline:
                    why, advice = "the timeout passed", f"It goes on: sluice report show {name}"
                    raise Failure(f"The report {name} (job {job}) still runs", why, advice, Exit.TIMEOUT)
        if shown["status"] != "success":
            code = Exit.JOB_KILLED if shown["status"] == "killed" else Exit.JOB_FAILED
            advice = "Mend the definition and `sluice report apply` it, then run it again."
            raise Failure(f"The report {name} failed", "\n".join(shown["messages"]), advice, code)
        return self._show_run(shown["run"])

    def deliver(self, name: str, run: str) -> Exit:
        """Try what failed of a run's deliveries once more, at once."""
        with self._client() as client:
            queued = client.call("POST", _path(name, "runs", run, "deliveries")).json()["queued"]
        print(queued)
        return Exit.OK

    def open(self, name: str, run: str, out: Path | None) -> Exit:
        """Save a run's page and print the path, for a browser."""
        with self._client() as client:
            page = client.call("GET", _path(name, "runs", run, "report.html")).content
        path = (out or Path(f"{name}.html")).absolute()
        path.write_bytes(page)
        print(path)
        return Exit.OK

    def delete(self, name: str) -> Exit:
        """Delete a report with its runs."""
        with self._client() as client:
            print(client.call("DELETE", _path(name)).json()["deleted"])
        return Exit.OK

    def _client(self) -> Client:
        return Client(*credentials(self._root))

    def _print(self, columns: Sequence[str], found: Iterable[Mapping[str, Any]]) -> Exit:
        print_rows(columns, ([one.get(name) for name in columns] for one in found), self._form, sys.stdout)
        return Exit.OK


def read_file(file: Path) -> dict[str, Any]:
    """Read a definition: JSON, or TOML by the file's name.

    Raises:
        Failure: it cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8")
        body = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        advice = "Give a JSON file, or a TOML file called *.toml; docs/reports.md has examples."
        raise Failure(f"{file} cannot be read", str(error), advice, Exit.USAGE) from error
    if not isinstance(body, dict):
        raise Failure(f"{file} holds no object", "", "Write {…}.", Exit.USAGE)
    return body


def _path(name: str, *more: str) -> str:
    return "/".join((_ROOT, *(quote(part, safe="") for part in (name, *more))))


def _json(value: Mapping[str, Any]) -> Exit:
    json.dump(value, sys.stdout, indent=1)
    print()
    return Exit.OK


def _listed(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **report,
        "period": report["period"]["unit"],
        "analyses": ", ".join(one["key"] for one in report["analyses"]),
        "deliveries": ", ".join(one["name"] for one in report["deliveries"]),
        "updated_at": _time(report["updated_at"]),
    }


def _row(run: Mapping[str, Any]) -> dict[str, Any]:
    done = sum(one["status"] == "delivered" for one in run["deliveries"])
    return {
        **run,
        "slot": _time(run["slot"]),
        "window": run["window"]["text"],
        "deliveries": f"{done}/{len(run['deliveries'])}",
    }


def _told(run: Mapping[str, Any]) -> Iterable[str]:
    yield f"{run['report']}, run {run['run']}: {run['status']}, {run['window']['text'] or _time(run['slot'])}"
    if run["error"]:
        yield f"  {run['error']}"
    yield from (f"  not final: {doubt['text']}" for doubt in run.get("incomplete", ()))
    yield from (f"  {one['heading']}: {one['finding']}" for one in run.get("sections", ()))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
