"""``sluice schedule``: queries, analyses and reports that run by the clock."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from addon.cli.client import Client, credentials
from addon.cli.failures import Exit, Failure
from addon.cli.output import Format, print_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ROOT = "/v3/schedule"
_LISTED = ("name", "cron", "timezone", "type", "database", "enabled", "next_time", "missed")
_SHOWN = (
    *("name", "cron", "timezone", "delay", "type", "database", "query", "params", "priority", "retry_limit"),
    *("catch_up", "enabled", "missed", "created_at", "last_time", "next_times"),
)
_JOBS = ("job_id", "type", "scheduled_at")
_RUNS = ("scheduled_at", "job_id", "type", "status", "start_at", "duration", "num_records", "asked")


class ScheduleCommands:
    """The commands on one server; each prints what the server answers."""

    def __init__(self, root: Path, form: Format) -> None:
        """Take the home folder, and the form of output."""
        self._root = root
        self._form = form

    def create(self, name: str, fields: Mapping[str, Any]) -> Exit:
        """Make a schedule and print it."""
        return self._print_one(self._post("create", name, fields))

    def update(self, name: str, fields: Mapping[str, Any]) -> Exit:
        """Change a schedule and print it.

        Raises:
            Failure: nothing is to be changed.
        """
        if not fields:
            why, advice = "no option was given", "Say what shall change, for example --cron '@daily'."
            raise Failure("There is nothing to change", why, advice, Exit.USAGE)
        return self._print_one(self._post("update", name, fields))

    def delete(self, name: str) -> Exit:
        """Delete a schedule and print what it was."""
        return self._print_one(self._post("delete", name, {}))

    def list(self) -> Exit:
        """Print all schedules."""
        return self._print(_LISTED, self._get("list", None)["schedules"])

    def show(self, name: str) -> Exit:
        """Print one with its next slots."""
        return self._print_one(self._get("show", name))

    def run(self, name: str, since: str | None, slots: int) -> Exit:
        """Run it for ``slots`` slots from a time on; without one, for the newest slot that has passed."""
        if since is None:
            since = self._get("show", name)["last_time"]
        at = int(datetime.now(UTC).timestamp()) if since is None else unix_time(since)
        fields = {} if slots == 1 else {"num": slots}
        answer = self._post("run", name, fields, f"/{at}")
        return self._print(_JOBS, answer["jobs"])

    def history(self, name: str, most: int) -> Exit:
        """Print the newest ``most`` of its jobs."""
        return self._print(_RUNS, self._get("history", name, {"from": 0, "to": most - 1})["history"])

    def _get(self, what: str, name: str | None, params: Mapping[str, Any] | None = None) -> Any:
        with Client(*credentials(self._root)) as client:
            return client.call("GET", _path(what, name), params=params).json()

    def _post(self, what: str, name: str, fields: Mapping[str, Any], more: str = "") -> Any:
        with Client(*credentials(self._root)) as client:
            return client.call("POST", _path(what, name) + more, json=dict(fields)).json()

    def _print(self, columns: Sequence[str], found: Sequence[Mapping[str, Any]]) -> Exit:
        print_rows(columns, ([one.get(name) for name in columns] for one in found), self._form, sys.stdout)
        return Exit.OK

    def _print_one(self, schedule: Mapping[str, Any]) -> Exit:
        """Print one thing: a line for each field, an object in JSON."""
        shown = [name for name in _SHOWN if name in schedule]
        if self._form in {Format.JSON, Format.CSV}:
            return self._print(shown, [schedule])
        print_rows(("field", "value"), ([name, schedule[name]] for name in shown), self._form, sys.stdout)
        return Exit.OK


def _path(what: str, name: str | None) -> str:
    return f"{_ROOT}/{what}" if name is None else f"{_ROOT}/{what}/{quote(name, safe='')}"


def unix_time(text: str) -> int:
    """Read Unix seconds, or a time in ISO 8601; one without a zone is UTC.

    Raises:
        Failure: it is neither.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        advice = "Write for example 2026-03-01T00:00:00Z, or Unix seconds."
        raise Failure("The time cannot be read", str(error), advice, Exit.USAGE) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def what_runs(sql: str | None, analysis: str | None, report: str | None) -> dict[str, str]:
    """Return the fields type and query of what a schedule shall run; none when nothing is given.

    Raises:
        Failure: several are given.
    """
    given = {"": sql, "analysis": analysis, "report": report}
    chosen = {kind: text for kind, text in given.items() if text is not None}
    if len(chosen) > 1:
        advice = "Give one of --query, --analysis and --report."
        raise Failure("A schedule runs one thing", "several were given", advice, Exit.USAGE)
    for kind, text in chosen.items():
        return {"query": text, **({"type": kind} if kind else {})}
    return {}
