"""What the notebooks share: a data frame in one call, an analysis in one call, and data to try them on.

It is a customer like any other: httpx on the add-on's public routes, and Treasure Data's own client for the
import. Copy it next to your own notebooks, or copy the one function that you need.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgpack
import pandas as pd
import pyarrow as pa
import tdclient

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SEED = 1997
"""The demo's: the same seed gives the same visits."""
_ARROW = "application/vnd.apache.arrow.stream"
_WAIT_SECONDS = 30
_GIVE_UP_SECONDS = 600


class SluiceError(Exception):
    """The add-on said no; the message is its own, with what to do about it."""


@dataclass(frozen=True)
class Run:
    """A finished analysis.

    Attributes:
        number: the run's; `runs.run_NUMBER.OUTPUT` is an output's name in SQL.
        tables: each output as a data frame.
        manifest: what ran on what: parameters, versions of the tables, rows in and left out, a hash of the
            result. Send it back as ``from_manifest`` and the same run comes out again.
        warnings: what the add-on wants you to know about the result.
    """

    number: str
    tables: dict[str, pd.DataFrame]
    manifest: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True)
class Sluice:
    """One database of one account.

    Attributes:
        server: the add-on's URL, such as ``http://127.0.0.1:7084``.
        key: an API key of the account.
        database: where the tables of the queries are.
    """

    server: str
    key: str
    database: str

    def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"TD1 {self.key}", **options.pop("headers", {})}
        try:
            answer = httpx.request(method, f"{self.server}{path}", headers=headers, timeout=120, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SluiceError(
                f"{self.server} does not answer ({error}). Is it running? `sluice up`"
            ) from error
        if answer.is_error:
            raise SluiceError(_words(answer))
        return answer

    def arrow(self, sql: str) -> pa.Table:
        """Run SQL (Trino's dialect) and return its rows, typed, as an Arrow table."""
        body = {"sql": sql, "database": self.database}
        answer = self._call("POST", "/sluice/v1/query", json=body, headers={"Accept": _ARROW})
        return pa.ipc.open_stream(answer.content).read_all()

    def frame(self, sql: str) -> pd.DataFrame:
        """Run SQL and return a data frame."""
        return self.arrow(sql).to_pandas()

    def analyze(self, name: str, inputs: dict[str, str], **parameters: Any) -> Run:
        """Run an analysis on tables that SQL makes, and wait for it.

        Args:
            name: the analysis; ``python -m jobs list`` names them all.
            inputs: its input tables, each as a ``SELECT`` whose columns are those that
                ``python -m jobs describe NAME`` asks for.
            parameters: its parameters, under the names of the same list.
        """
        return self._start(name, {"database": self.database, "inputs": inputs, "params": parameters})

    def again(self, name: str, manifest: dict[str, Any]) -> Run:
        """Run a finished analysis once more: the same queries on the same versions of the tables."""
        return self._start(name, {"from_manifest": manifest})

    def _start(self, name: str, body: dict[str, Any]) -> Run:
        runs = f"/api/analyses/{name}/runs"
        number = self._call("POST", runs, json=body).json()["run"]
        shown = self._finished(name, f"{runs}/{number}")
        tables = {}
        for output in shown["outputs"]:
            arrow = self._call("GET", f"{runs}/{number}/outputs/{output['name']}", params={"format": "arrow"})
            tables[output["name"]] = pa.ipc.open_stream(arrow.content).read_all().to_pandas()
        return Run(number, tables, shown["manifest"], shown["warnings"])

    def _finished(self, name: str, run: str) -> dict[str, Any]:
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            shown: dict[str, Any] = self._call("GET", run, params={"wait": _WAIT_SECONDS}).json()
            if shown["status"] == "success":
                return shown
            if shown["status"] in {"error", "killed"}:
                raise SluiceError(f"The analysis {name}: {shown['error'] or shown['status']}")
        raise SluiceError(f"The analysis {name} is not done after {_GIVE_UP_SECONDS} s; it goes on: {run}")


def _words(answer: httpx.Response) -> str:
    """What the add-on said, with its advice."""
    try:
        said = answer.json()
        return " ".join(str(said[name]) for name in ("message", "hint") if said.get(name)) or answer.text
    except (ValueError, AttributeError):
        return answer.text


def connect() -> Sluice:
    """Read server, key and database from the environment; load the demo's shop if it is not there.

    Raises:
        SystemExit: a variable is missing; it says which, and what sets it.
    """
    server, key = (os.environ.get(f"TREASURE_DATA_API_{name}", "") for name in ("SERVER", "KEY"))
    if not (server and key):
        sys.exit(
            "TREASURE_DATA_API_SERVER and TREASURE_DATA_API_KEY say where the add-on is and who you are.\n"
            'Start one with `sluice up`, then: eval "$(sluice env)"'
        )
    sluice = Sluice(server, key, os.environ.get("SLUICE_NOTEBOOK_DATABASE", "shop"))
    _load_shop_unless_there(sluice)
    return sluice


def _load_shop_unless_there(sluice: Sluice) -> None:
    """Import the demo's events into a database that does not exist yet. One that exists is never touched."""
    with tdclient.Client(apikey=sluice.key, endpoint=sluice.server) as td:
        if sluice.database in {database.name for database in td.databases()}:
            return
        packed = gzip.compress(b"".join(msgpack.packb(event) for event in shop_events()), compresslevel=1)
        td.create_database(sluice.database)
        td.create_log_table(sluice.database, "events")
        td.import_data(sluice.database, "events", "msgpack.gz", io.BytesIO(packed), len(packed))


def shop_events() -> list[dict[str, Any]]:
    """Return what the demo's shop prints when the demo's visitors come: real purchases, seeded visits."""
    sys.path[:0] = [str(EXAMPLES / "traffic"), str(EXAMPLES / "shop")]
    from catalogue import PRODUCTS  # noqa: PLC0415 - the demo's own modules, beside this folder
    from cdnow import read_purchases  # noqa: PLC0415
    from plan import plan_visits  # noqa: PLC0415

    del sys.path[:2]
    with (EXAMPLES / "data" / "CDNOW_sample.txt").open() as lines:
        visits = plan_visits(read_purchases(lines), list(PRODUCTS), SEED)
    events = []
    for visit in (visit for mine in visits.values() for visit in mine):
        for event, moment, more in zip(
            visit.events(), visit.times(), _properties(visit, PRODUCTS), strict=True
        ):
            told = {name: value for name, value in more.items() if value not in (None, "")}
            common = {"user_id": visit.customer, "time": moment, "seq": len(events) + 1, "event": event}
            events.append(common | told)
    return events


def _properties(visit: Any, products: Any) -> list[dict[str, Any]]:
    """What the shop adds to each event of a visit."""
    landing = {name: getattr(visit.origin, name) for name in ("utm_source", "utm_medium", "utm_campaign")}
    host = visit.origin.referrer.removeprefix("https://").partition("/")[0]
    views = [{"product": slug, "genre": products[slug].genre} for slug in visit.views]
    if visit.order is None:
        return [landing | {"referrer": host}, *views]
    slug, order = visit.views[-1], visit.order
    cart = {"product": slug, "quantity": order.quantity}
    bought = {"order_id": order.order_id, "value_minor": order.value_minor, "title": products[slug].title}
    return [landing | {"referrer": host}, *views, cart, cart | bought]
