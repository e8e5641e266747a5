"""The operator sees everybody's use, under whose account and resource it was."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from addon.models.tables import Column, TableRef
from addon.store.accounts import AccountStore
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.meters import MeterStore, Use, hour_of
from addon.upkeep.usage import COLUMNS, used, write_usage
from platform_core.base.clock import FixedClock
from platform_core.base.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_780_000_000.0
DAY = "2026-05-28T00:00:00+00:00"


NOTHING = {"rows_in": 0, "bytes_in": 0, "bytes_stored": None, "queries": 0, "bytes_scanned": 0, "cpu_s": 0.0}


def _metered(url: str) -> tuple[Database, MeterStore, list[dict[str, object]]]:
    """Make a database with some use of one account; return also what is to be shown of it."""
    database, clock = Database(url), FixedClock(NOW)
    database.migrate()
    account, _ = AccountStore(database, clock).ensure_local("local", "premium", "secret")
    catalog, meters = SqlCatalog(database, clock), MeterStore(database, clock)
    ref = TableRef(account.id, "shop", "a")
    catalog.ensure_table(ref)
    catalog.record_flush(ref, [Column("time", "long")], 3, 9, ("w", 1), size=30)
    meters.add_uses({(account.id, hour_of(NOW), "", ""): Use(1, 0, 2.0)})
    whose = {"day": DAY, "account": account.id, "resource": "", "name": "local", "plan": "premium"}
    expected = [
        {**NOTHING, **whose, "database": "(none)", "table": "(none)", "queries": 1, "cpu_s": 2.0},
        {**NOTHING, **whose, "database": "shop", "table": "a", "rows_in": 3, "bytes_in": 30},
    ]
    return database, meters, expected


def test_every_accounts_use_is_listed_by_day_and_table(tmp_path: Path) -> None:
    database, meters, expected = _metered(f"sqlite:///{tmp_path}/addon.db")
    found = used(meters, {})
    assert found == expected
    assert [tuple(row) for row in found] == [COLUMNS] * 2
    with pytest.raises(NotFound, match="no account 99"):
        used(meters, {}, 99)
    text = io.StringIO()
    write_usage(found, "csv", text)
    assert [row["table"] for row in csv.DictReader(io.StringIO(text.getvalue()))] == ["(none)", "a"]
    database.close()


@pytest.mark.slow
def test_the_command_reads_a_home(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path)]
    made = subprocess.run([sys.executable, "-m", "addon", "init", *home], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    database, meters, expected = _metered(f"sqlite:///{next(tmp_path.rglob('addon.db'))}")
    with pytest.raises(InvalidInput, match="zone: 'Mars' is not allowed"):
        used(meters, {"zone": "Mars"})
    database.close()
    shown = subprocess.run(
        [sys.executable, "-m", "addon.upkeep", "usage", *home, "--json", "--from=2026-05-28"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == expected
