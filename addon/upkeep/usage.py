"""What every account used, for the operator who writes the bills: the analysis ``usage`` over all meters."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TextIO

import pyarrow.parquet as pq

from addon.query.books import meter_tables
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.store.meters import MeterStore

_OF_ACCOUNT = ("account", "resource", "name", "plan")
COLUMNS = (
    *("day", *_OF_ACCOUNT, "database", "table", "rows_in", "bytes_in", "bytes_stored"),
    *("queries", "bytes_scanned", "cpu_s"),
)


def used(meters: MeterStore, params: Mapping[str, Any], account: int | None = None) -> list[dict[str, Any]]:
    """Return a row for each account, day and table, in this order; ``params`` are the analysis'.

    Raises:
        InvalidInput: a parameter is not allowed.
        NotFound: there is no such account.
    """
    payers = {payer.account_id: payer for payer in meters.payers()}
    if account is not None and account not in payers:
        raise NotFound(f"There is no account {account}.")
    tables = meter_tables(meters.rows(account), lambda row: f"{row.account_id}/{row.database}")
    found = []
    for row in _computed(tables, params) if tables["ingested"].num_rows or tables["queried"].num_rows else ():
        number, _, database = row["database"].partition("/")
        payer = payers[int(number)]
        whose = (payer.account_id, payer.resource, payer.name, payer.plan)
        day = datetime.fromtimestamp(row["day"], UTC).isoformat()
        shown = {"day": day, "database": database or "(none)", **dict(zip(_OF_ACCOUNT, whose, strict=True))}
        found.append({name: {**row, **shown}[name] for name in COLUMNS})
    return sorted(found, key=lambda row: (row["account"], row["day"], row["database"], row["table"]))


def _computed(tables: Mapping[str, Any], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run the analysis in a process of its own, as everybody's is."""
    with TemporaryDirectory(prefix="sluice-usage-") as name:
        folder = Path(name)
        inputs = []
        for table, rows in tables.items():
            pq.write_table(rows, folder / f"{table}.parquet")
            inputs.append(f"--input={table}={folder / table}.parquet")
        argv = [sys.executable, "-m", "jobs", "run", "usage", *inputs, f"--params={json.dumps(dict(params))}"]
        done = subprocess.run([*argv, f"--out={folder / 'out'}"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InvalidInput(done.stderr.strip().removeprefix("error: "))
        rows_found: list[dict[str, Any]] = pq.read_table(folder / "out" / "usage.parquet").to_pylist()
        return rows_found


def write_usage(rows: Sequence[Mapping[str, Any]], form: str, out: TextIO) -> None:
    """Write rows as ``json``, ``csv``, or with tabs."""
    if form == "json":
        json.dump(list(rows), out, indent=1)
        out.write("\n")
        return
    writer = csv.DictWriter(out, COLUMNS, delimiter="," if form == "csv" else "\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
