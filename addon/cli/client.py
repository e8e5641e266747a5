"""A client of the add-on's HTTP surface: Treasure Data's REST v3 for queries, and our own routes.

It is a foreign client like any other: it knows the server by its answers only.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from addon.cli.failures import Exit, Failure
from addon.cli.home import Home
from addon.cli.recipe import from_shell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

Schema = list[tuple[str, str]]
"""Column names with the engine's type names."""
_NAMED = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_REQUEST_SECONDS = 60.0
_BY_STATUS = {401: Exit.AUTH, 403: Exit.AUTH, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT}
_ADVICE = {
    Exit.AUTH: 'Check TD_API_KEY; `eval "$(sluice env)"` sets the local one.',
    Exit.NOT_FOUND: "Check the name; databases and tables come into being with their first row.",
    Exit.CONFLICT: "Choose another name, or remove the old one.",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """A result: column names, the engine's type names, and rows of JSON values."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def credentials(root: Path) -> tuple[str, str]:
    """Return the server's URL and the API key: from the environment, else from the home folder's recipe."""
    server, key = os.environ.get("TD_API_SERVER"), os.environ.get("TD_API_KEY")
    if server and key:
        return server, key
    variables = from_shell(Home(root).recipe())
    return server or variables["TD_API_SERVER"], key or variables["TD_API_KEY"]


class Client:
    """Talks to one add-on with one API key."""

    def __init__(self, server: str, key: str) -> None:
        """Take the server's URL, for example ``http://127.0.0.1:7084``, and an API key."""
        headers = {"Authorization": f"TD1 {key}"}
        self._server = server
        self._http = httpx.Client(base_url=server, headers=headers, timeout=_REQUEST_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; return the answer when it is a success.

        Raises:
            Failure: the server cannot be reached, or says no; its reason is in it.
        """
        with self._reached():
            response = self._http.request(method, path, **options)
        return self._require_success(response)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Tell of a connection that fails."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            advice = "Is it running? Start it with: sluice up"
            if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
                advice = "Set TD_API_SERVER to its URL, for example http://127.0.0.1:7084"
            raise Failure(f"Cannot reach the add-on at {self._server}", why, advice) from error

    @staticmethod
    def _require_success(response: httpx.Response) -> httpx.Response:
        if response.is_success:
            return response
        code = _BY_STATUS.get(response.status_code, Exit.ERROR)
        advice = _ADVICE.get(code, "Mend that, then try again.")
        raise Failure(f"The add-on answered {response.status_code}", _reason(response), advice, code)

    def query(self, database: str, sql: str, engine: str = "presto", timeout: float = 600.0) -> Rows:
        """Run SQL as a job and return its rows.

        Raises:
            Failure: the job failed, was killed, or took longer than ``timeout`` seconds.
        """
        job, schema = self._finished_query(database, sql, engine, timeout)
        with self._result(job) as rows:
            return Rows([name for name, _ in schema], [kind for _, kind in schema], list(rows))

    @contextmanager
    def query_stream(
        self, database: str, sql: str, engine: str = "presto", timeout: float = 600.0
    ) -> Iterator[tuple[list[str], Iterator[list[Any]]]]:
        """Do the same; lend the column names and the rows as they come over the wire.

        Raises:
            Failure: as `query`; or the connection broke in the middle of the rows.
        """
        job, schema = self._finished_query(database, sql, engine, timeout)
        with self._result(job) as rows:
            yield [name for name, _ in schema], rows

    def _finished_query(self, database: str, sql: str, engine: str, timeout: float) -> tuple[str, Schema]:
        deadline = time.monotonic() + timeout
        path = f"/v3/job/issue/{quote(engine, safe='')}/{quote(database, safe='')}"
        try:
            job = str(self.call("POST", path, data={"query": sql}).json()["job_id"])
        except Failure as failure:
            if failure.code is Exit.NOT_FOUND:
                failure.do_next = self._which_databases()
            raise
        self._wait(job, deadline)
        shown = self.call("GET", f"/v3/job/show/{job}").json()
        return job, json.loads(shown.get("hive_result_schema") or "[]")

    def _which_databases(self) -> str:
        listed = self.call("GET", "/v3/database/list").json()["databases"]
        names = ", ".join(str(database["name"]) for database in listed[:_NAMED])
        if not names:
            return (
                "This account has no database yet: one comes into being with an app's first row, or with "
                f"POST {self._server}/v3/database/create/NAME. TD_API_KEY says which account is asked."
            )
        return f"Give a database of this account with -d: {names}{', …' if len(listed) > _NAMED else ''}"

    @contextmanager
    def _result(self, job: str) -> Iterator[Iterator[list[Any]]]:
        path, options = f"/v3/job/result/{job}", {"format": "json"}
        with self._reached(), self._http.stream("GET", path, params=options) as response:
            if not response.is_success:
                response.read()
            self._require_success(response)
            yield (json.loads(line) for line in _lines(response.iter_bytes()) if line)

    def query_now(self, database: str, sql: str) -> Rows:
        """Run SQL in one call, without a job; for short queries.

        Raises:
            Failure: the query failed.
        """
        body = {"sql": sql, "database": database}
        answer = self.call("POST", "/sluice/v1/query", json=body).json()
        columns = answer["columns"]
        return Rows([c["name"] for c in columns], [c["type"] for c in columns], answer["rows"])

    def _wait(self, job: str, deadline: float) -> None:
        for pause in _pauses():
            status = self.call("GET", f"/v3/job/status/{job}").json()["status"]
            if status == "success":
                return
            if status in {"error", "killed"}:
                raise self._job_failure(job, status)
            if time.monotonic() + pause > deadline:
                advice = (
                    f"It goes on: sluice query gives up only for you. Kill it with POST /v3/job/kill/{job}"
                )
                raise Failure(f"Job {job} is still {status}", "the timeout passed", advice, Exit.TIMEOUT)
            time.sleep(pause)

    def _job_failure(self, job: str, status: str) -> Failure:
        shown: Mapping[str, Any] = self.call("GET", f"/v3/job/show/{job}").json()
        reason = str((shown.get("debug") or {}).get("stderr") or "the server gives no reason")
        if status == "killed":
            return Failure(f"Job {job} was killed", reason, "Run it again.", Exit.JOB_KILLED)
        return Failure(f"Job {job} failed", reason, "Mend the query, then run it again.", Exit.JOB_FAILED)


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a body at its line feeds, and at nothing else: JSON strings may hold other line separators."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    yield rest


def _pauses() -> Iterator[float]:
    """Yield ever longer pauses, in seconds."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _reason(response: httpx.Response) -> str:
    """Return the server's own words."""
    try:
        body = response.json()
    except ValueError:
        return response.text[:500]
    if not isinstance(body, dict):
        return response.text[:500]
    return str(body.get("message") or body.get("error") or response.text[:500])
